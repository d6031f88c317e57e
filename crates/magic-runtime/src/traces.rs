//! The spans of a request, and what every log line about it says.
//!
//! Where nobody records, a step's span is an empty option: nothing is made, and no clock is read. The span of the log is another
//! thing: it gives the lines about a request their ids, whether traces are recorded or not.

use crate::runtime::Runtime;
use magic_broker::{OpenSpan, SpanEnd, SpanKind, TraceContext};
use magic_contract::Failure;
use tracing::field::Empty;

/// The attribute of spans that names a code of the catalogue.
pub const ERROR_TYPE: &str = "error.type";

/// The attribute of a request's own span that names the request.
pub const REQUEST_ID: &str = "magic.request_id";

impl Runtime {
    /// The place of a request in a trace: what its client says, and a span of its own if traces are recorded. `name` is for spans.
    #[must_use]
    pub fn trace(&self, traceparent: Option<&str>, name: &'static str) -> Option<TraceContext> {
        let services = self.shared.services.as_ref();
        match services.and_then(|services| services.spans.as_ref()) {
            Some(sink) => TraceContext::begin(sink, traceparent, name, SpanKind::Server),
            None => traceparent.and_then(TraceContext::child_of),
        }
    }
}

/// What log lines about a request say beside their own words. Controller and version are filled in once they are known.
///
/// It is of the highest level, so that it is there for every line that is written at all.
#[must_use]
pub fn log_span(request_id: &str, trace: Option<&TraceContext>) -> tracing::Span {
    tracing::error_span!(
        "request",
        request_id,
        trace_id = trace.map(|trace| tracing::field::display(trace.trace_id())),
        controller = Empty,
        version = Empty,
    )
}

/// Does one step of a request, and tells of it.
pub(crate) async fn step<T>(
    trace: Option<&TraceContext>,
    name: &'static str,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let span = begin(trace, name);
    end(span, work.await)
}

/// Begins to tell of a step.
pub(crate) fn begin(trace: Option<&TraceContext>, name: &'static str) -> OpenSpan {
    trace.map_or_else(OpenSpan::default, |trace| trace.step(name))
}

/// Tells how a step ended.
pub(crate) fn end<T>(mut span: OpenSpan, outcome: Result<T, Failure>) -> Result<T, Failure> {
    match &outcome {
        Ok(_) => span.end(SpanEnd::Fine),
        Err(failure) => {
            span.note(ERROR_TYPE, failure.code.as_str());
            span.end(SpanEnd::Failed);
        }
    }
    outcome
}
