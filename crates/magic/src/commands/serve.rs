//! `magic serve`: the service.

use std::path::PathBuf;

use crate::activation::Passed;
use crate::cli::{Ended, Refused};
use crate::listening::Origin;
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
    /// Take the sockets of the server that runs, which answers what it has accepted and ends
    #[arg(long)]
    take_over: bool,
}

pub(crate) async fn run(
    arguments: &Arguments,
    passed: Vec<Passed>,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<Ended> {
    let serving = Serving::chosen(
        arguments.controllers.clone(),
        arguments.listen.as_deref(),
        false,
        settings,
    )?;
    let origin = match (arguments.take_over, passed.is_empty()) {
        (false, true) => Origin::Own,
        (false, false) => Origin::Passed(passed),
        (true, true) => Origin::TakenOver,
        (true, false) => {
            return Err(anyhow::anyhow!(
                "--take-over has nothing to take: the service manager has passed sockets, and keeps them over a restart"
            )
            .context(Refused("the runtime refuses to start")));
        }
    };
    serving::run(serving, origin, settings, output).await
}
