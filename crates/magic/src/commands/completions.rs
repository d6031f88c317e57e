//! `magic completions SHELL`: what completes the command, made from the same description that parses it.

use anyhow::Context;

use crate::cli::Ended;
use crate::output::Output;

/// The arguments of `magic completions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The shell that is to read it
    shell: clap_complete::Shell,
}

pub(crate) fn run(
    arguments: &Arguments,
    mut command: clap::Command,
    output: Output,
) -> anyhow::Result<Ended> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "magic", &mut script);
    let script = String::from_utf8(script).context("the completions are not text")?;
    output.data(script.trim_end())?;
    Ok(Ended::Done)
}
