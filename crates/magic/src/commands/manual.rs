//! `magic manual FOLDER`: one page for each command, made from the same description that parses it. Packages carry them.
//! `magic manual --llms`: what a language model is given so that it can write controllers.

use std::path::PathBuf;

use anyhow::Context;

use crate::cli::Ended;
use crate::output::Output;

/// Every example in it is validated and run by the tests of the documents.
const LLMS: &str = include_str!("../../../../docs/llms.txt");

/// The arguments of `magic manual`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The folder that the pages are written into, such as man1
    #[arg(value_name = "FOLDER", required_unless_present = "llms")]
    folder: Option<PathBuf>,
    /// Print what a language model must know to write controllers
    #[arg(long, conflicts_with = "folder")]
    llms: bool,
}

pub(crate) fn run(
    arguments: &Arguments,
    command: clap::Command,
    output: Output,
) -> anyhow::Result<Ended> {
    let Some(folder) = &arguments.folder else {
        output.data(LLMS.trim_end())?;
        return Ok(Ended::Done);
    };
    std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(command, folder))
        .with_context(|| format!("cannot write the pages into {}", folder.display()))?;
    output.talk(&format!("the pages are in {}", folder.display()));
    Ok(Ended::Done)
}
