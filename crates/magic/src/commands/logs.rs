//! `magic logs NAME`: what a controller wrote, and with `--follow` what it goes on to write.

use std::fmt::Write as _;

use http_body_util::BodyExt;
use magic_store::LogLine;
use serde_json::{Map, Value};

use crate::cli::Ended;
use crate::client::{Client, Reply, segment, whole};
use crate::output::Output;
use crate::settings::Settings;
use crate::terminal::escaped;

/// The largest event that is taken from the stream, in bytes. Lines are far smaller.
const LARGEST_EVENT: usize = 1024 * 1024;

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
                    "missed" => {
                        output.talk(&format!("(lines were dropped: {})", escaped(&event.data)))
                    }
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
    } else {
        let text = |member: &str| {
            envelope
                .pointer(&format!("/error/{member}"))
                .and_then(Value::as_str)
                .unwrap_or("?")
        };
        output.talk(&format!(
            "error[{}]: {}",
            escaped(text("code")),
            escaped(text("message"))
        ));
    }
    Ok(Ended::Refused)
}

/// One server-sent event.
#[derive(Debug, Default, PartialEq, Eq)]
struct ServerEvent {
    name: String,
    data: String,
}

/// Puts events together from the pieces that the network cuts.
#[derive(Debug, Default)]
struct EventReader {
    pending: Vec<u8>,
}

impl EventReader {
    /// The events that are complete now.
    fn feed(&mut self, bytes: &[u8]) -> anyhow::Result<Vec<ServerEvent>> {
        self.pending.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.pending.windows(2).position(|pair| pair == b"\n\n") {
            let block: Vec<u8> = self.pending.drain(..end + 2).collect();
            let block = String::from_utf8_lossy(&block);
            let mut event = ServerEvent::default();
            for line in block.lines() {
                match line.split_once(':') {
                    Some(("event", value)) => event.name = value.trim_start().to_owned(),
                    Some(("data", value)) => event
                        .data
                        .push_str(value.strip_prefix(' ').unwrap_or(value)),
                    // Comments keep the connection alive, ids are for browsers.
                    _ => {}
                }
            }
            events.push(event);
        }
        if self.pending.len() > LARGEST_EVENT {
            anyhow::bail!("the supervisor sent an event without an end");
        }
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However the stream is cut, the events are the same.
    #[test]
    fn events_survive_any_cut() {
        let stream = b":\n\nevent: line\nid: 1\ndata: {\"a\":1}\n\nevent: missed\ndata: {}\n\n";
        let named = |name: &str, data: &str| ServerEvent {
            name: name.to_owned(),
            data: data.to_owned(),
        };
        let expected = [
            named("", ""),
            named("line", "{\"a\":1}"),
            named("missed", "{}"),
        ];
        for size in 1..=stream.len() {
            let mut reader = EventReader::default();
            let events: Vec<_> = stream
                .chunks(size)
                .flat_map(|piece| reader.feed(piece).expect("small events"))
                .collect();
            assert_eq!(events, expected, "pieces of {size}");
        }
    }

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
