//! `magic executions REQUEST`: what became of a request, on whichever node it ran.

use std::ops::ControlFlow;

use comfy_table::{Table, presets};
use hyper::Method;
use serde_json::Value;

use super::asking::ask;
use crate::cli::Ended;
use crate::client::{Client, segment};
use crate::output::Output;
use crate::settings::Settings;
use crate::terminal::escaped;

/// The arguments of `magic executions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The request's identifier, as the answer's X-Request-ID has it
    request: String,
    /// The supervisor's URL, instead of its socket
    #[arg(long)]
    url: Option<String>,
}

/// Lines for people: what is said, and the member of the JSON form.
const LINES: [(&str, &str); 10] = [
    ("controller", "controller"),
    ("version", "version"),
    ("node", "node"),
    ("caller", "caller"),
    ("started", "started_at"),
    ("outcome", "outcome"),
    ("reason", "reason"),
    ("effects", "effects"),
    ("trigger", "trigger"),
    ("replayed", "replayed"),
];

pub(crate) async fn run(
    arguments: &Arguments,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<Ended> {
    let client = Client::new(&settings.with_url(arguments.url.as_ref()))?;
    let path = format!("/api/executions/{}", segment(&arguments.request));
    let answer = match ask(&client, Method::GET, &path, None, output).await? {
        ControlFlow::Continue(answer) => answer,
        ControlFlow::Break(ended) => return Ok(ended),
    };
    let executions = answer["executions"].as_array();
    for (number, execution) in executions.into_iter().flatten().enumerate() {
        if number > 0 {
            output.data("")?;
        }
        show(execution, output)?;
    }
    Ok(Ended::Done)
}

fn show(execution: &Value, output: Output) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for (said, member) in LINES {
        let value = match &execution[member] {
            Value::Null => continue,
            Value::String(text) => escaped(text),
            other => escaped(&other.to_string()),
        };
        table.add_row([said.to_owned(), value]);
    }
    table.add_row(["took".to_owned(), milliseconds(&execution["duration_us"])]);
    let used = |member: &str, unit: &str| match execution[member].as_i64() {
        Some(number) => format!("{number} {unit}"),
        None => "not known".to_owned(),
    };
    table.add_row(["processor time".to_owned(), used("cpu_ms", "ms")]);
    table.add_row(["most memory".to_owned(), used("peak_memory_bytes", "bytes")]);
    output.data(&table.trim_fmt())?;
    let mut calls = Table::new();
    calls.load_style(presets::NOTHING);
    calls.set_header(["AT", "CALL", "TOOK", "DECISION", "CODE"]);
    let list = execution["calls"].as_array();
    for call in list.into_iter().flatten() {
        let text = |member: &str| escaped(call[member].as_str().unwrap_or("-"));
        calls.add_row([
            milliseconds(&call["start_us"]),
            text("method"),
            milliseconds(&call["duration_us"]),
            text("decision"),
            text("code"),
        ]);
    }
    if list.is_some_and(|list| !list.is_empty()) {
        output.data(&calls.trim_fmt())?;
    }
    if let Some(more) = execution["calls_not_told"].as_u64() {
        output.talk(&format!("and {more} further calls"));
    }
    Ok(())
}

fn milliseconds(microseconds: &Value) -> String {
    let microseconds = microseconds.as_u64().unwrap_or(0);
    format!("{}.{:03} ms", microseconds / 1_000, microseconds % 1_000)
}
