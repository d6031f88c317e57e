//! `magic delete NAME`: a controller is not served any more, on any node.

use hyper::Method;

use super::rollback::moved;
use crate::cli::Ended;
use crate::client::{Client, segment};
use crate::output::Output;
use crate::settings::Settings;

/// The arguments of `magic delete`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The controller's name
    name: String,
    /// The supervisor's URL, instead of its socket
    #[arg(long)]
    url: Option<String>,
}

pub(crate) async fn run(
    arguments: &Arguments,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<Ended> {
    let client = Client::new(&settings.with_url(arguments.url.as_ref()))?;
    let path = format!("/api/controllers/{}", segment(&arguments.name));
    moved(&client, Method::DELETE, &path, None, output).await
}
