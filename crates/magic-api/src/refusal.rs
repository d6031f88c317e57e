//! Saying no: the one shape in which every error leaves.
//!
//! Handlers and extractors return a [`Refusal`]. It does not know the request's id, and need not: as a response it is an empty
//! body that carries itself along, and [`crate::request_scope`], the only place that knows the id, writes the envelope. So there
//! is exactly one writer of error bodies, and no way to answer an error without one.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use jiff::Timestamp;
use magic_contract::{ErrorCode, Failure, Reason};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::auth::authenticator::challenge;
use crate::request_id::RequestId;
use crate::status::status_of;

/// An error on its way out: the failure, and how HTTP says it.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    status: StatusCode,
    /// Boxed, so that results that are nearly always fine stay small.
    failure: Box<Failure>,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// A failure with the status that its code has.
    pub(crate) fn of(failure: Failure) -> Self {
        Self {
            status: status_of(failure.code),
            failure: Box::new(failure),
            retry_after: None,
        }
    }

    /// What the HTTP layer itself refuses: E1004, with the status that HTTP has for it.
    pub(crate) fn http(status: StatusCode, message: &str) -> Self {
        Self {
            status,
            failure: Box::new(Failure::new(ErrorCode::UnacceptableBody, message)),
            retry_after: None,
        }
    }

    /// No such route, controller or log: E4004.
    pub(crate) fn unknown(message: impl Into<String>) -> Self {
        Self::of(Failure::new(ErrorCode::UnknownController, message))
    }

    pub(crate) fn with_detail(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.failure.details.insert(key.to_owned(), value.into());
        self
    }

    pub(crate) fn with_reason(self, reason: Reason) -> Self {
        self.with_detail("reason", reason.as_str())
    }

    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn code(&self) -> ErrorCode {
        self.failure.code
    }

    /// When it makes sense to come back. HTTP counts whole seconds; less than one is one, or the client would spin.
    pub(crate) fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// What is told of it, whatever it is told by.
    pub(crate) fn envelope<'a>(&'a self, request_id: &'a RequestId) -> Envelope<'a> {
        Envelope {
            error: ErrorBody {
                code: self.failure.code.as_str(),
                category: self.failure.code.category().as_str(),
                message: &self.failure.message,
                request_id: request_id.as_str(),
                timestamp: Timestamp::now(),
                details: &self.failure.details,
            },
        }
    }

    /// Writes the envelope into a response that this refusal became, keeping the headers that are there already.
    pub(crate) fn write_envelope(&self, response: &mut Response, request_id: &RequestId) {
        if let Some(internal) = &self.failure.internal {
            tracing::error!(
                code = self.failure.code.as_str(),
                internal,
                "request failed inside"
            );
        }
        let envelope = self.envelope(request_id);
        let text = serde_json::to_vec(&envelope).expect("strings and JSON values are JSON");
        *response.status_mut() = self.status;
        *response.body_mut() = Body::from(text);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // The router has stated the length of the empty body that is replaced here.
        headers.remove(CONTENT_LENGTH);
        if let Some(challenge) = challenge(self.failure.code) {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        let retry_after = self.retry_after.or_else(|| {
            (self.failure.code == ErrorCode::NoCapacity).then_some(Duration::from_secs(1))
        });
        if let Some(retry_after) = retry_after {
            let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// An error as JSON.
#[derive(Serialize)]
pub(crate) struct Envelope<'a> {
    error: ErrorBody<'a>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    code: &'static str,
    category: &'static str,
    message: &'a str,
    request_id: &'a str,
    timestamp: Timestamp,
    details: &'a Map<String, Value>,
}
