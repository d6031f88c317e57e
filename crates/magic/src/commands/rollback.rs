//! `magic rollback NAME`: an earlier version serves again, on every node.

use std::ops::ControlFlow;

use hyper::Method;
use serde_json::{Value, json};

use super::asking::ask;
use crate::cli::Ended;
use crate::client::{Client, segment};
use crate::output::Output;
use crate::settings::Settings;
use crate::terminal::escaped;

/// The arguments of `magic rollback`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The controller's name
    name: String,
    /// The version, such as 1.0.0 or v1.0.0; without it, the one that served before
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
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
    let path = format!("/api/controllers/{}/rollback", segment(&arguments.name));
    let body = json!({"to": arguments.to, "reason": arguments.reason});
    moved(&client, Method::POST, &path, Some(&body), output).await
}

/// Asks for a change of what serves, and tells what came of it.
pub(super) async fn moved(
    client: &Client,
    method: Method,
    path: &str,
    body: Option<&Value>,
    output: Output,
) -> anyhow::Result<Ended> {
    let answer = match ask(client, method, path, body, output).await? {
        ControlFlow::Continue(answer) => answer,
        ControlFlow::Break(ended) => return Ok(ended),
    };
    let text = |member: &str| answer[member].as_str().map(escaped);
    let name = text("name").unwrap_or_default();
    let unchanged = answer["changed"] == json!(false);
    output.talk(&match (text("version"), text("replaced")) {
        (Some(version), _) if unchanged => format!("{name} serves {version} already"),
        (Some(version), Some(replaced)) => {
            format!("{name} serves {version} again, in place of {replaced}")
        }
        (Some(version), None) => format!("{name} serves {version}"),
        (None, _) => format!("{name} is not served any more; its versions stay known"),
    });
    Ok(Ended::Done)
}
