//! `magic logs NAME`: what a controller wrote, and with `--follow` what it goes on to write.

use std::fmt::Write as _;

use http_body_util::BodyExt;
use magic_contract::Failure;
use magic_store::LogLine;
use serde_json::{Map, Value};

use crate::cli::Ended;
use crate::client::{Client, Reply, segment, whole};
use crate::output::Output;
use crate::runtime_start::talk_failure;
use crate::server_events::EventReader;
use crate::settings::Settings;
use crate::terminal::escaped;

/// The arguments of `magic logs`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The controller's name
    name: String,
    /// Go on with new lines as they come
    #[arg(long, short)]
    follow: bool,
    /// How many lines of the past to show
    #[arg(long, short = 'n', value_name = "LINES", default_value_t = 100)]
    limit: usize,
    /// Only lines after this number
    #[arg(long, value_name = "NUMBER")]
    after: Option<u64>,
    /// Only lines of this request
    #[arg(long, value_name = "ID")]
    request: Option<String>,
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
    let mut path = format!(
        "/api/controllers/{}/logs?follow={}&limit={}",
        segment(&arguments.name),
        arguments.follow,
        arguments.limit
    );
    if let Some(after) = arguments.after {
        let _ = write!(path, "&after={after}");
    }
    if let Some(request) = &arguments.request {
        let _ = write!(path, "&request={}", segment(request));
    }
    let response = match client.get(&path).await? {
        Reply::Ok(response) => response,
        Reply::Refused(envelope) => return refuse(&envelope, output),
    };
    if !arguments.follow {
        let answer: Value = serde_json::from_slice(&whole(response).await?)?;
        for line in answer
            .get("lines")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            print(line, output)?;
        }
        return Ok(Ended::Done);
    }
    let mut body = response.into_body();
    let mut events = EventReader::default();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            anyhow::bail!("the supervisor closed the connection");
        };
        if let Some(data) = frame.data_ref() {
            for event in events.feed(data)? {
                match event.name.as_str() {
                    "line" => print(&serde_json::from_str(&event.data)?, output)?,
                    "missed" => output.talk("(lines in between may have been forgotten)"),
                    _ => {}
                }
            }
        }
    }
    output.talk("the supervisor has ended");
    Ok(Ended::Done)
}

/// A line as data: as it came, or for people.
fn print(line: &Value, output: Output) -> anyhow::Result<()> {
    if output.is_json() {
        return output.json(line);
    }
    let text = |member: &str| line.get(member).and_then(Value::as_str).unwrap_or("");
    let empty = Map::new();
    output.data(&shown_parts(
        text("time"),
        text("level"),
        text("stream"),
        text("message"),
        line.get("fields")
            .and_then(Value::as_object)
            .unwrap_or(&empty),
        line.get("truncated")
            .and_then(Value::as_bool)
            .unwrap_or(false),
    ))
}

/// A log line for people.
pub(crate) fn shown_line(line: &LogLine) -> String {
    shown_parts(
        &line.time.to_string(),
        line.level.as_str(),
        line.stream.as_str(),
        &line.message,
        &line.fields,
        line.truncated,
    )
}

fn shown_parts(
    time: &str,
    level: &str,
    stream: &str,
    message: &str,
    fields: &Map<String, Value>,
    truncated: bool,
) -> String {
    // The time of day is enough to read along; the JSON form has the date.
    let clock = time.split_once('T').map_or(time, |(_, clock)| clock);
    let clock: String = clock.chars().take(12).collect();
    let clock = clock.trim_end_matches('Z');
    let mut shown = format!("{clock:<12} {level:<7} {stream:<7} {}", escaped(message));
    for (key, value) in fields {
        let value = match value {
            Value::String(text) => escaped(text),
            other => escaped(&other.to_string()),
        };
        let _ = write!(shown, " {}={value}", escaped(key));
    }
    if truncated {
        shown.push_str(" (cut off)");
    }
    shown
}

/// Shows an error envelope.
pub(crate) fn refuse(envelope: &Value, output: Output) -> anyhow::Result<Ended> {
    if output.is_json() {
        output.json(envelope)?;
        return Ok(Ended::Refused);
    }
    let text = |member: &str| {
        envelope
            .pointer(&format!("/error/{member}"))
            .and_then(Value::as_str)
            .unwrap_or("?")
    };
    match text("code").parse() {
        Ok(code) => {
            let mut failure = Failure::new(code, text("message"));
            if let Some(Value::Object(details)) = envelope.pointer("/error/details") {
                failure.details = details.clone();
            }
            talk_failure(&failure, output);
        }
        // A later supervisor knows more codes.
        Err(_) => output.talk(&format!(
            "error[{}]: {}",
            escaped(text("code")),
            escaped(text("message"))
        )),
    }
    Ok(Ended::Refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hostile message cannot forge a line or move the cursor.
    #[test]
    fn a_line_stays_one_line() {
        let mut fields = Map::new();
        fields.insert("k".to_owned(), Value::from("a\nb"));
        let shown = shown_parts(
            "2026-01-31T12:00:01.123456Z",
            "info",
            "stdout",
            "x\u{1b}[0m\ny",
            &fields,
            true,
        );
        assert_eq!(
            shown,
            "12:00:01.123 info    stdout  x\\u{1b}[0m\\ny k=a\\nb (cut off)"
        );
    }
}
