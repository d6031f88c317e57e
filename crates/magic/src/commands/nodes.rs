//! `magic nodes`: who shares the state, and what each of them serves.

use std::ops::ControlFlow;

use comfy_table::{Table, presets};
use hyper::Method;

use super::asking::ask;
use crate::cli::Ended;
use crate::client::Client;
use crate::output::Output;
use crate::settings::Settings;
use crate::terminal::escaped;

/// The arguments of `magic nodes`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The supervisor's URL, instead of its socket
    #[arg(long)]
    url: Option<String>,
}

/// So much of a hash tells two policies apart; the JSON form has it whole.
const SHORT_HASH: usize = 12;

pub(crate) async fn run(
    arguments: &Arguments,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<Ended> {
    let client = Client::new(&settings.with_url(arguments.url.as_ref()))?;
    let answer = match ask(&client, Method::GET, "/api/nodes", None, output).await? {
        ControlFlow::Continue(answer) => answer,
        ControlFlow::Break(ended) => return Ok(ended),
    };
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "NODE",
        "PROGRAM",
        "POLICY",
        "GENERATION",
        "HEARD",
        "AUDIT LOG",
    ]);
    for node in answer["nodes"].as_array().into_iter().flatten() {
        let text = |member: &str| escaped(node[member].as_str().unwrap_or("-"));
        let policy: String = text("policy").chars().take(SHORT_HASH).collect();
        let head = match node["audit_head"]["sequence"].as_i64() {
            Some(sequence) => format!("up to {sequence}"),
            None => "-".to_owned(),
        };
        table.add_row([
            text("name"),
            text("program"),
            policy,
            node["generation"].to_string(),
            text("heard_at"),
            head,
        ]);
    }
    output.data(&table.trim_fmt())?;
    Ok(Ended::Done)
}
