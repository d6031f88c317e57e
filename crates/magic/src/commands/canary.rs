//! `magic canary NAME --promote|--return`: the end of a version's trial.

use hyper::Method;
use serde_json::json;

use super::rollback::moved;
use crate::cli::Ended;
use crate::client::{Client, segment};
use crate::output::Output;
use crate::settings::Settings;

/// The arguments of `magic canary`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The controller's name
    name: String,
    #[command(flatten)]
    end: End,
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// The supervisor's URL, instead of its socket
    #[arg(long)]
    url: Option<String>,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct End {
    /// Everybody gets it
    #[arg(long)]
    promote: bool,
    /// Nobody gets it any more
    #[arg(long = "return")]
    take_back: bool,
}

pub(crate) async fn run(
    arguments: &Arguments,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<Ended> {
    let client = Client::new(&settings.with_url(arguments.url.as_ref()))?;
    let path = format!("/api/controllers/{}/canary", segment(&arguments.name));
    let action = if arguments.end.promote {
        "promote"
    } else {
        "return"
    };
    let body = json!({"action": action, "reason": arguments.reason});
    moved(&client, Method::POST, &path, Some(&body), output).await
}
