//! What is the same for every request, before and after its route.
//!
//! This is plain code in reading order rather than a stack of layers, because the order matters: the id exists before the first
//! refusal, a refusal of the head costs no routing, and whatever comes out, including a panic, leaves as an envelope that carries
//! the id.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use hyper::header::{CACHE_CONTROL, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Request, StatusCode};
use magic_contract::{ErrorCode, Failure, Reason};
use tower::ServiceExt;

use crate::options::{ApiOptions, HostCheck};
use crate::origin;
use crate::refusal::Refusal;
use crate::request_id::{self, RequestId};

/// Where a connection came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// TCP: anybody, browsers included.
    Tcp,
    /// The unix socket: a process of this user or of root.
    Unix,
}

/// Everything that is needed to answer requests.
pub(crate) struct RequestScope {
    router: axum::Router,
    header_count: usize,
    header_bytes: usize,
    host_check: HostCheck,
}

impl RequestScope {
    pub(crate) fn new(router: axum::Router, options: &ApiOptions) -> Self {
        Self {
            router,
            header_count: options.header_count,
            header_bytes: options.header_bytes,
            host_check: options.host_check,
        }
    }

    /// Answers one request. Dropping the future cancels it.
    pub(crate) async fn answer(&self, mut request: Request<Body>, source: Source) -> Response {
        let id = RequestId::of(request.headers());
        // Formatted only if somebody asked for it: this is the hot path.
        let asked = tracing::enabled!(tracing::Level::DEBUG)
            .then(|| format!("{} {}", request.method(), request.uri().path()));
        let mut response = match self.check_head(&request, source) {
            Err(refusal) => refusal.into_response(),
            Ok(()) => {
                request.extensions_mut().insert(id.clone());
                let routed = self.router.clone().oneshot(request);
                // The state that a panicking handler leaves behind is its own future, which is dropped with it.
                match AssertUnwindSafe(routed).catch_unwind().await {
                    Ok(Ok(response)) => response,
                    Ok(Err(never)) => match never {},
                    Err(panic) => panicked(&*panic).into_response(),
                }
            }
        };
        if let Some(refusal) = response.extensions_mut().remove::<Arc<Refusal>>() {
            refusal.write_envelope(&mut response, &id);
        }
        if let Some(asked) = asked {
            tracing::debug!(request_id = %id, asked, status = response.status().as_u16(), "answered");
        }
        let headers = response.headers_mut();
        headers.insert(request_id::HEADER, id.to_header());
        // Answers hold somebody's data: no browser may guess their type and no proxy may keep them.
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    fn check_head(&self, request: &Request<Body>, source: Source) -> Result<(), Refusal> {
        let headers = request.headers();
        let bytes: usize = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        if headers.len() > self.header_count || bytes > self.header_bytes {
            return Err(Refusal::http(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "the request has too many header fields, or too large ones",
            )
            .with_reason(Reason::TooLarge)
            .with_detail(
                "expected",
                format!(
                    "at most {} fields and {} bytes",
                    self.header_count, self.header_bytes
                ),
            ));
        }
        match (self.host_check, source) {
            (HostCheck::LoopbackNames, Source::Tcp) => origin::check(request.uri(), headers),
            (HostCheck::Any, _) | (_, Source::Unix) => Ok(()),
        }
    }
}

/// A panic in a handler is our mistake; the caller learns only that, the log learns what was said.
fn panicked(panic: &(dyn std::any::Any + Send)) -> Refusal {
    let said = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without words");
    Refusal::of(
        Failure::new(
            ErrorCode::ControllerFailed,
            "the runtime failed while it handled this request",
        )
        .with_reason(Reason::Internal)
        .with_internal(said),
    )
}
