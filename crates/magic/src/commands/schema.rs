//! `magic schema contract`: what editors check and complete contracts with.

use magic_contract::Contract;

use crate::cli::Ended;
use crate::output::Output;

/// What a schema can be printed of.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// The schema of contract files
    Contract,
}

pub(crate) fn run(command: &Command, output: Output) -> anyhow::Result<Ended> {
    let schema = match command {
        Command::Contract => Contract::json_schema(),
    };
    if output.is_json() {
        output.json(&schema)?;
    } else {
        output.data(&serde_json::to_string_pretty(&schema)?)?;
    }
    Ok(Ended::Done)
}
