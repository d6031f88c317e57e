//! A request's own span: begun before anything is asked of the request, ended with the status of its answer.
//!
//! Only executions have one. Whoever asks whether the runtime lives, or scrapes its figures, does so every few seconds, and would
//! fill a collector with nothing.

use axum::body::Body;
use hyper::{HeaderMap, Request, StatusCode};
use magic_contract::ErrorCode;
use magic_runtime::{ERROR_TYPE, REQUEST_ID, Runtime, SpanEnd, TraceContext};

use crate::request_id::RequestId;

/// The route whose requests are recorded, and the name of their spans.
const EXECUTIONS: &str = "/api/execute/";
const NAME: &str = "POST /api/execute/{controller}";

/// The place of a request in a trace, if it has one.
pub(crate) fn of(
    runtime: &Runtime,
    request: &Request<Body>,
    id: &RequestId,
) -> Option<TraceContext> {
    let parent = parent(request.headers());
    if !request.uri().path().starts_with(EXECUTIONS) {
        return parent.and_then(TraceContext::child_of);
    }
    let trace = runtime.trace(parent, NAME)?;
    if trace.is_recorded() {
        trace.note(REQUEST_ID, id.as_str().to_owned());
        trace.note("http.request.method", "POST");
        trace.note("http.route", &NAME["POST ".len()..]);
    }
    Some(trace)
}

/// What the client says, if it says it once.
fn parent(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all("traceparent").iter();
    match (given.next(), given.next()) {
        (Some(only), None) => only.to_str().ok(),
        _ => None,
    }
}

/// Ends the request's span. An answer that tells the client of a mistake of its own is no failure of this side.
pub(crate) fn end(trace: &TraceContext, status: StatusCode, code: Option<ErrorCode>) {
    trace.note("http.response.status_code", i64::from(status.as_u16()));
    if let Some(code) = code {
        trace.note(ERROR_TYPE, code.as_str());
    }
    trace.end(if status.is_server_error() {
        SpanEnd::Failed
    } else {
        SpanEnd::Fine
    });
}
