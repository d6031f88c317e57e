//! `magic deploy PATH`: a folder becomes a version that every node serves.

use std::path::PathBuf;
use std::time::Instant;

use http_body_util::BodyExt;
use magic_runtime::Bundle;
use serde_json::Value;

use crate::cli::Ended;
use crate::client::{Client, Reply};
use crate::output::Output;
use crate::runtime_start::talk_failure;
use crate::server_events::{EventReader, ServerEvent};
use crate::settings::Settings;
use crate::terminal::escaped;

/// The arguments of `magic deploy`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The controller's folder
    #[arg(value_name = "PATH")]
    folder: PathBuf,
    /// Give it this share of the requests, in percent, until it fails more often than the version before
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=99))]
    canary: Option<u8>,
    /// By how much a canary may fail more often, 0 to 1
    #[arg(long, value_name = "SHARE", requires = "canary")]
    margin: Option<f64>,
    /// It may break who relies on the version before it; is recorded
    #[arg(long)]
    allow_breaking: bool,
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
    let began = Instant::now();
    let client = Client::new(&settings.with_url(arguments.url.as_ref()))?;
    let bundle = match Bundle::read(&arguments.folder) {
        Ok(bundle) => bundle,
        Err(failure) => {
            if output.is_json() {
                output.json(&serde_json::json!({"error": {
                    "code": failure.code, "message": failure.message, "details": failure.details,
                }}))?;
            } else {
                talk_failure(&failure, output);
            }
            return Ok(Ended::Refused);
        }
    };
    let archive = bundle.to_archive()?;
    let response = match client.send_bundle(&path(arguments), archive).await? {
        Reply::Ok(response) => response,
        Reply::Refused(envelope) => return super::logs::refuse(&envelope, output),
    };
    let mut body = response.into_body();
    let mut events = EventReader::default();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { break };
        let Some(data) = frame.data_ref() else {
            continue;
        };
        for event in events.feed(data)? {
            if let Some(ended) = take(&event, began, output)? {
                return Ok(ended);
            }
        }
    }
    anyhow::bail!(
        "the supervisor closed the connection before it said how the deploy ended; `magic versions {}` shows it",
        bundle.contract().name
    )
}

fn path(arguments: &Arguments) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    if let Some(percent) = arguments.canary {
        query.append_pair("canary", &percent.to_string());
    }
    if let Some(margin) = arguments.margin {
        query.append_pair("margin", &margin.to_string());
    }
    if arguments.allow_breaking {
        query.append_pair("allow_breaking", "true");
    }
    if let Some(reason) = &arguments.reason {
        query.append_pair("reason", reason);
    }
    format!("/api/controllers?{}", query.finish())
}

/// Shows one event; the last one ends the command.
fn take(event: &ServerEvent, began: Instant, output: Output) -> anyhow::Result<Option<Ended>> {
    let value: Value = match event.name.as_str() {
        "step" | "deployed" | "error" => serde_json::from_str(&event.data)?,
        _ => return Ok(None),
    };
    match event.name.as_str() {
        "step" => {
            if !output.is_json() {
                output.talk(&format!("  {}", step(&value)));
            }
            Ok(None)
        }
        "deployed" => {
            if output.is_json() {
                output.json(&value)?;
            } else {
                let text = |member: &str| escaped(value[member].as_str().unwrap_or("?"));
                let done = if value["changed"] == Value::Bool(true) {
                    "deployed"
                } else {
                    "nothing to do: this is deployed already:"
                };
                output.talk(&format!(
                    "{done} {} {} in {} ms",
                    text("name"),
                    text("version"),
                    began.elapsed().as_millis()
                ));
            }
            Ok(Some(Ended::Done))
        }
        _ => super::logs::refuse(&value, output).map(Some),
    }
}

fn tried(kept: u64, cut_short: u64) -> String {
    let kept = match kept {
        0 => None,
        1 => Some("1 example gives what it promises".to_owned()),
        count => Some(format!("{count} examples give what they promise")),
    };
    let cut_short = match cut_short {
        0 => None,
        1 => Some("1 example was run until it asked for a capability".to_owned()),
        count => Some(format!(
            "{count} examples were run until they asked for a capability"
        )),
    };
    match (kept, cut_short) {
        (None, None) => "no examples in the contract".to_owned(),
        (Some(one), None) | (None, Some(one)) => one,
        (Some(kept), Some(cut_short)) => format!("{kept}; {cut_short}"),
    }
}

fn step(value: &Value) -> String {
    let text = |member: &str| escaped(value[member].as_str().unwrap_or("?"));
    match value["step"].as_str() {
        Some("read") => format!("read {} {}", text("name"), text("version")),
        Some("judged") => "contract, policy and packages are in order".to_owned(),
        Some("imported") => "imported in a sandbox".to_owned(),
        Some("tried") => {
            let count = |member: &str| value[member].as_u64().unwrap_or(0);
            tried(count("examples"), count("cut_short"))
        }
        Some("stored") => "stored".to_owned(),
        Some("switched") => "serving".to_owned(),
        _ => escaped(&value.to_string()),
    }
}
