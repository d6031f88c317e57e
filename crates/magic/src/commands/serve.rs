//! `magic serve`: the service.

use std::path::PathBuf;

use crate::cli::Ended;
use crate::output::Output;
use crate::serving::{self, Serving};
use crate::settings::{self, Settings};

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
    let listen = match &arguments.listen {
        Some(text) => settings::address(text)?,
        None => settings.listen,
    };
    serving::run(
        Serving {
            controllers: arguments
                .controllers
                .clone()
                .unwrap_or_else(|| settings.controllers.clone()),
            listen,
            reload: false,
        },
        settings,
        output,
    )
    .await
}
