//! `magic serve`: the service.

use std::path::PathBuf;

use crate::cli::Ended;
use crate::output::Output;
use crate::serving::{self, Serving};
use crate::settings::Settings;

/// The arguments of `magic serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The folder of controllers
    #[arg(value_name = "FOLDER")]
    controllers: Option<PathBuf>,
    /// The address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
}

pub(crate) async fn run(
    arguments: &Arguments,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<Ended> {
    let serving = Serving::chosen(
        arguments.controllers.clone(),
        arguments.listen.as_deref(),
        false,
        settings,
    )?;
    serving::run(serving, settings, output).await
}
