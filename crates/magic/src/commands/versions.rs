//! `magic versions NAME`: every version that was deployed, and which of them serves.

use std::ops::ControlFlow;

use comfy_table::{Table, presets};
use hyper::Method;

use super::asking::ask;
use crate::cli::Ended;
use crate::client::{Client, segment};
use crate::output::Output;
use crate::settings::Settings;
use crate::terminal::escaped;

/// The arguments of `magic versions`.
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
    let path = format!("/api/controllers/{}/versions", segment(&arguments.name));
    let answer = match ask(&client, Method::GET, &path, None, output).await? {
        ControlFlow::Continue(answer) => answer,
        ControlFlow::Break(ended) => return Ok(ended),
    };
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["VERSION", "STATE", "DEPLOYED", "BY"]);
    for version in answer["versions"].as_array().into_iter().flatten() {
        let text = |member: &str| escaped(version[member].as_str().unwrap_or("-"));
        let state = match version["percent"].as_u64() {
            Some(percent) => format!("{} {percent} %", text("state")),
            None => text("state"),
        };
        table.add_row([
            text("version"),
            state,
            text("deployed_at"),
            text("deployed_by"),
        ]);
    }
    output.data(&table.trim_fmt())?;
    let history = answer["history"].as_array();
    let Some(history) = history.filter(|history| !history.is_empty()) else {
        return Ok(Ended::Done);
    };
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["EVENT", "VERSION", "REPLACED", "AT", "BY", "WHY"]);
    for event in history {
        let text = |member: &str| escaped(event[member].as_str().unwrap_or("-"));
        table.add_row([
            text("event"),
            text("version"),
            text("replaced"),
            text("at"),
            text("by"),
            text("reason"),
        ]);
    }
    output.data("")?;
    output.data(&table.trim_fmt())?;
    Ok(Ended::Done)
}
