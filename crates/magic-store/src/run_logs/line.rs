//! One line of a run log, and how many bytes it counts as.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// The controller's standard output.
    Stdout,
    /// The controller's standard error.
    Stderr,
    /// The controller's structured log.
    Log,
    /// The runtime itself, about the controller.
    Runtime,
}

impl Stream {
    /// The word that the JSON form uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Log => "log",
            Self::Runtime => "runtime",
        }
    }
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For whoever is hunting something.
    Debug,
    /// The ordinary course of things.
    Info,
    /// Worth a look.
    Warning,
    /// Something failed.
    Error,
}

impl Level {
    /// The word that the JSON form uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One line that a controller (or the runtime, about it) wrote.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LogLine {
    /// The line's number in its controller's log, from 1, without holes. Assigned when the line is appended.
    pub sequence: u64,
    /// When it was written, by the supervisor's clock.
    pub time: Timestamp,
    /// Who wrote it.
    pub controller: String,
    /// Which version of it.
    pub version: String,
    /// During which request; a template that is still loading has none.
    pub request_id: Option<String>,
    /// Through which stream.
    pub stream: Stream,
    /// How much it matters.
    pub level: Level,
    /// The text, as written. Whoever shows it on a terminal must escape it.
    pub message: String,
    /// The structured part; empty for what came through standard output and error.
    pub fields: Map<String, Value>,
    /// Whether part of the line was cut off to stay within a limit.
    pub truncated: bool,
}

impl LogLine {
    /// A line without request, fields or number yet.
    #[must_use]
    pub fn new(
        time: Timestamp,
        controller: impl Into<String>,
        version: impl Into<String>,
        stream: Stream,
        level: Level,
        message: impl Into<String>,
    ) -> Self {
        Self {
            sequence: 0,
            time,
            controller: controller.into(),
            version: version.into(),
            request_id: None,
            stream,
            level,
            message: message.into(),
            fields: Map::new(),
            truncated: false,
        }
    }

    /// Cuts the message to `limit` bytes and drops the fields if they take more than that. Half a set of fields would be
    /// worse than none, since a reader could not tell which half.
    pub(super) fn cut_to(&mut self, limit: usize) {
        if self.message.len() > limit {
            let end = self.message.floor_char_boundary(limit);
            self.message.truncate(end);
            // A message that was a slice of something large must not keep its capacity alive.
            self.message.shrink_to_fit();
            self.truncated = true;
        }
        if weight_of_map(&self.fields) > limit {
            self.fields = Map::new();
            self.truncated = true;
        }
    }

    /// The bytes that this line counts as: what it holds on the heap and itself, roughly.
    pub(super) fn weight(&self) -> usize {
        size_of::<Self>()
            + self.controller.len()
            + self.version.len()
            + self.request_id.as_ref().map_or(0, String::len)
            + self.message.capacity()
            + weight_of_map(&self.fields)
    }
}

/// What a map holds on the heap, roughly. The depth of values is bounded where they are decoded.
fn weight_of_map(map: &Map<String, Value>) -> usize {
    map.iter()
        .map(|(key, value)| size_of::<String>() + key.len() + weight_of_value(value))
        .sum()
}

fn weight_of_value(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(weight_of_value).sum(),
            Value::Object(map) => weight_of_map(map),
        }
}
