//! Our spans as OpenTelemetry's.

use magic_broker::{Span, SpanEnd, SpanKind, SpanValue, TraceId};
use opentelemetry::trace::{self, SpanContext, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

/// Who made the spans.
const SCOPE: &str = "magic";

pub(crate) fn trace_id(id: TraceId) -> trace::TraceId {
    trace::TraceId::from(id.number())
}

pub(crate) fn span(span: Span) -> SpanData {
    let id = trace::SpanId::from(span.span_id.number());
    let state = TraceState::default();
    let context = SpanContext::new(
        trace_id(span.trace_id),
        id,
        TraceFlags::SAMPLED,
        false,
        state,
    );
    let attributes = span.attributes.into_iter();
    SpanData {
        span_context: context,
        parent_span_id: span.parent.map_or(trace::SpanId::INVALID, |parent| {
            trace::SpanId::from(parent.number())
        }),
        parent_span_is_remote: span.parent_is_remote,
        span_kind: match span.kind {
            SpanKind::Server => trace::SpanKind::Server,
            SpanKind::Consumer => trace::SpanKind::Consumer,
            SpanKind::Client => trace::SpanKind::Client,
            SpanKind::Internal => trace::SpanKind::Internal,
        },
        name: span.name,
        start_time: span.begun,
        end_time: span.ended,
        attributes: attributes
            .map(|(name, value)| KeyValue::new(name, of(value)))
            .collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: match span.end {
            SpanEnd::Fine => Status::Unset,
            // Why it failed is an attribute; a text could hold what a controller wrote.
            SpanEnd::Failed => Status::error(""),
        },
        instrumentation_scope: InstrumentationScope::builder(SCOPE)
            .with_version(env!("CARGO_PKG_VERSION"))
            .build(),
    }
}

fn of(value: SpanValue) -> Value {
    match value {
        SpanValue::Text(text) => Value::String(text.into()),
        SpanValue::Number(number) => Value::I64(number),
        SpanValue::Flag(flag) => Value::Bool(flag),
    }
}
