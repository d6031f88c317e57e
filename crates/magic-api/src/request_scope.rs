//! What is the same for every request, before and after its route.
//!
//! This is plain code in reading order rather than a stack of layers, because the order matters: the id exists before the first
//! refusal, a refusal of the head costs no routing, and whatever comes out, including a panic, leaves as an envelope that carries
//! the id.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use hyper::header::{CACHE_CONTROL, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Request, StatusCode};
use magic_contract::{ErrorCode, Failure, Reason};
use magic_runtime::{Runtime, TraceContext, log_span};
use tower::ServiceExt;
use tracing::Instrument;

use crate::answered::Answered;
use crate::auth::authenticator::Authentication;
use crate::auth::caller::Caller;
use crate::auth::role::Roles;
use crate::cors::AllowedOrigins;
use crate::options::ApiOptions;
use crate::origin;
use crate::refusal::Refusal;
use crate::request_id::{self, RequestId};
use crate::trace;

/// Where a connection came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// TCP, from this address: anybody, browsers included.
    Tcp(SocketAddr),
    /// The unix socket: a process of a user who may talk to us.
    Unix(Peer),
}

/// A process at the other end of the unix socket, as the kernel vouches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    uid: u32,
    caller: Caller,
}

impl Peer {
    pub(crate) fn new(uid: u32, roles: Roles) -> Self {
        Self {
            uid,
            caller: Caller::local(uid, roles),
        }
    }

    pub(crate) fn uid(&self) -> u32 {
        self.uid
    }

    pub(crate) fn caller(&self) -> Caller {
        self.caller.clone()
    }
}

/// Everything that is needed to answer requests.
pub(crate) struct RequestScope {
    runtime: Runtime,
    router: axum::Router,
    answered: Answered,
    header_count: usize,
    header_bytes: usize,
    /// Whether only loopback names are believed on TCP.
    loopback_names: bool,
    allowed_origins: AllowedOrigins,
}

impl RequestScope {
    pub(crate) fn new(
        runtime: Runtime,
        router: axum::Router,
        options: &ApiOptions,
        answered: Answered,
    ) -> Self {
        Self {
            runtime,
            router,
            answered,
            header_count: options.header_count,
            header_bytes: options.header_bytes,
            loopback_names: matches!(options.authentication, Authentication::Open),
            allowed_origins: options.allowed_origins.clone(),
        }
    }

    /// Answers one request. Dropping the future cancels it.
    pub(crate) async fn answer(&self, request: Request<Body>, source: &Source) -> Response {
        let id = RequestId::of(request.headers());
        let trace = trace::of(&self.runtime, &request, &id);
        let lines = log_span(id.as_str(), trace.as_ref());
        let answering = self.answer_as(id, trace, request, source);
        answering.instrument(lines).await
    }

    async fn answer_as(
        &self,
        id: RequestId,
        trace: Option<TraceContext>,
        mut request: Request<Body>,
        source: &Source,
    ) -> Response {
        // Formatted only if somebody asked for it: this is the hot path.
        let asked = tracing::enabled!(tracing::Level::DEBUG)
            .then(|| format!("{} {}", request.method(), request.uri().path()));
        let asking = self.allowed_origins.asking(request.headers()).cloned();
        let mut response = match self.check_head(&request, source) {
            Err(refusal) => refusal.into_response(),
            Ok(Some(preflight)) => preflight,
            Ok(None) => {
                request.extensions_mut().insert(id.clone());
                request.extensions_mut().insert(source.clone());
                if let Some(trace) = &trace {
                    request.extensions_mut().insert(trace.clone());
                }
                let routed = self.router.clone().oneshot(request);
                // The state that a panicking handler leaves behind is its own future, which is dropped with it.
                match AssertUnwindSafe(routed).catch_unwind().await {
                    Ok(Ok(response)) => response,
                    Ok(Err(never)) => match never {},
                    Err(panic) => panicked(&*panic).into_response(),
                }
            }
        };
        let refusal = response.extensions_mut().remove::<Arc<Refusal>>();
        if let Some(refusal) = &refusal {
            refusal.write_envelope(&mut response, &id);
        }
        if let Some(trace) = trace {
            let code = refusal.as_ref().map(|refusal| refusal.code());
            trace::end(&trace, response.status(), code);
        }
        self.answered.count(response.status());
        if let Some(asked) = asked {
            tracing::debug!(asked, status = response.status().as_u16(), "answered");
        }
        let headers = response.headers_mut();
        headers.insert(request_id::HEADER, id.to_header());
        // Answers hold somebody's data: no browser may guess their type and no proxy may keep them.
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        self.allowed_origins.mark(asking, headers);
        response
    }

    /// Refuses a head that is not acceptable; a browser's question in advance is answered right here.
    fn check_head(
        &self,
        request: &Request<Body>,
        source: &Source,
    ) -> Result<Option<Response>, Refusal> {
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
        if self.loopback_names && matches!(source, Source::Tcp(_)) {
            origin::check(request.uri(), headers, &self.allowed_origins)?;
        }
        Ok(self.allowed_origins.preflight(request.method(), headers))
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
