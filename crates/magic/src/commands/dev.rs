//! `magic dev`: the author's loop. Serves a folder of controllers on this machine and deploys what is saved.

use std::path::PathBuf;

use crate::cli::Ended;
use crate::listening::Origin;
use crate::output::Output;
use crate::serving::{self, Serving};
use crate::settings::Settings;

/// The arguments of `magic dev`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The folder of controllers
    #[arg(value_name = "FOLDER")]
    controllers: Option<PathBuf>,
    /// The address to listen on, on this machine only; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
}

pub(crate) async fn run(
    arguments: &Arguments,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<Ended> {
    if settings.environment == magic_contract::Environment::Production {
        anyhow::bail!("ENVIRONMENT=prod: magic dev is for development; type: magic serve");
    }
    let serving = Serving::chosen(
        arguments.controllers.clone(),
        arguments.listen.as_deref(),
        true,
        settings,
    )?;
    serving::run(serving, Origin::Own, settings, output).await
}
