//! The log for programs: one JSON object a line, flat, so that `request_id` has one place whoever writes the line.
//!
//! The library's own format nests what belongs to the request. Here the members of a line are its time, level, words and fields,
//! and after them those of the request that it is about, where the line has no field of that name.

use std::fmt;

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// Writes events as lines of JSON.
#[derive(Debug)]
pub(crate) struct JsonLines;

/// What a contract put of the input into the log: JSON already.
const INPUT: &str = "input";

/// Keeps the fields of spans as members of JSON, each with a comma behind it. They are only ever appended to, since a request's are
/// filled in one by one and most are never read.
#[derive(Debug)]
pub(crate) struct SpanMembers;

impl<'a> FormatFields<'a> for SpanMembers {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'a>, fields: R) -> fmt::Result {
        let mut members = Members(Map::new());
        fields.record(&mut members);
        members
            .0
            .into_iter()
            .try_for_each(|(name, value)| write!(writer, "{}:{value},", Value::String(name)))
    }
}

impl SpanMembers {
    /// What was kept, as an object.
    fn read(kept: &str) -> Map<String, Value> {
        let members = kept.trim_end_matches(',');
        serde_json::from_str(&format!("{{{members}}}")).unwrap_or_default()
    }
}

impl<S> FormatEvent<S, SpanMembers> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, SpanMembers>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let about = event.metadata();
        let mut line = Members(Map::new());
        line.put("timestamp", json!(jiff::Timestamp::now().to_string()));
        line.put("level", json!(about.level().as_str()));
        event.record(&mut line);
        line.put("target", json!(about.target()));
        for span in context.event_scope().into_iter().flatten() {
            let extensions = span.extensions();
            let Some(kept) = extensions.get::<FormattedFields<SpanMembers>>() else {
                continue;
            };
            for (name, value) in SpanMembers::read(&kept.fields) {
                line.0.entry(name).or_insert(value);
            }
        }
        writeln!(writer, "{}", Value::Object(line.0))
    }
}

/// The members of a line.
struct Members(Map<String, Value>);

impl Members {
    fn put(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }
}

impl Visit for Members {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), json!(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), json!(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), json!(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), json!(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), json!(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        let object = (field.name() == INPUT)
            .then(|| serde_json::from_str::<Map<String, Value>>(&text).ok())
            .flatten();
        self.put(field.name(), object.map_or(json!(text), Value::Object));
    }
}
