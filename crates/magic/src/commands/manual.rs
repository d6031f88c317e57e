//! `magic manual FOLDER`: one page for each command, made from the same description that parses it. Packages carry them.

use std::path::PathBuf;

use anyhow::Context;

use crate::cli::Ended;
use crate::output::Output;

/// The arguments of `magic manual`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The folder that the pages are written into, such as man1
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

pub(crate) fn run(
    arguments: &Arguments,
    command: clap::Command,
    output: Output,
) -> anyhow::Result<Ended> {
    let folder = &arguments.folder;
    std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(command, folder))
        .with_context(|| format!("cannot write the pages into {}", folder.display()))?;
    output.talk(&format!("the pages are in {}", folder.display()));
    Ok(Ended::Done)
}
