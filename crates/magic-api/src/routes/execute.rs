//! `POST /api/execute/{controller}`: the body is the input, the answer is the output. The hot path.
//!
//! A client that may have to ask twice sends `Idempotency-Key`: the second time it gets the stored answer, marked by
//! `Idempotency-Replayed: true`, with the request id of its own second request in the header and of the first in the body.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Extension, Path, Query, State};
use axum::response::Response;
use hyper::header::HeaderValue;
use hyper::{HeaderMap, StatusCode};
use magic_runtime::{IdempotencyKey, Request, SpanEnd, TraceContext};
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;

use super::{bad_query, json, name_in};
use crate::auth::authorize::Authorized;
use crate::refusal::Refusal;
use crate::request_id::RequestId;
use crate::state::ApiState;

/// The query of an execution.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExecuteQuery {
    /// Insist on this version.
    version: Option<String>,
}

#[derive(Serialize)]
struct Executed<'a> {
    result: &'a Value,
    request_id: &'a str,
    duration_ms: f64,
    controller: &'a str,
    version: &'a str,
}

/// Runs the controller once.
pub(super) async fn execute(
    State(state): State<ApiState>,
    authorized: Authorized,
    Extension(request_id): Extension<RequestId>,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<ExecuteQuery>, QueryRejection>,
    asked: axum::extract::Request,
) -> Result<Response, Refusal> {
    // Taken apart and not extracted: extractors of heads copy them.
    let (parts, body) = asked.into_parts();
    let controller = name_in(path)?;
    let Query(query) = query.map_err(|rejection| bad_query(&rejection))?;
    let body = state.bodies.read(&parts.headers, body).await?;
    let trace = parts.extensions.get::<TraceContext>();
    let request = Request {
        request_id: request_id.as_str().to_owned(),
        controller,
        version: query.version,
        body: body.bytes.clone(),
        caller: authorized.caller().to_runtime(),
        idempotency_key: idempotency_key(&parts.headers)?,
        trace: trace.cloned(),
        started_by: None,
    };
    let answer = state
        .runtime
        .invoke(request)
        .await
        .map_err(|failed| Refusal::of(failed.failure).with_retry_after(failed.retry_after))?;
    let replying = trace.map(|trace| trace.step("reply"));
    let mut response = json(&Executed {
        result: &answer.result,
        request_id: &answer.request_id,
        duration_ms: milliseconds(answer.duration),
        controller: &answer.controller,
        version: &answer.version,
    });
    if answer.replayed {
        response
            .headers_mut()
            .insert(REPLAYED, HeaderValue::from_static("true"));
    }
    if let Some(span) = replying {
        span.end(SpanEnd::Fine);
    }
    Ok(response)
}

/// The request's header by which a client names it, and the answer's that says that it was stored.
const KEY: &str = "idempotency-key";
const REPLAYED: &str = "idempotency-replayed";

/// The key of the header. Two of them, or one that is no key, are refused: a client that believes in a protection that it
/// does not have would be worse off than without.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Refusal> {
    let mut given = headers.get_all(KEY).iter();
    let Some(first) = given.next() else {
        return Ok(None);
    };
    let key = first.to_str().ok().and_then(IdempotencyKey::parse);
    match (key, given.next()) {
        (Some(key), None) => Ok(Some(key)),
        _ => Err(Refusal::http(
            StatusCode::BAD_REQUEST,
            "the Idempotency-Key header is not acceptable",
        )
        .with_detail("constraint", KEY)
        .with_detail("expected", format!("once, {}", IdempotencyKey::RULE))),
    }
}

/// Whole microseconds as milliseconds: three decimals at most, since the nearest number to n/1000 prints as such.
fn milliseconds(duration: std::time::Duration) -> f64 {
    // Exact up to 2^53 microseconds, which is 285 years.
    #[expect(clippy::cast_precision_loss, reason = "no request takes 285 years")]
    let microseconds = duration.as_micros() as f64;
    microseconds / 1000.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What callers read as `duration_ms`.
    #[test]
    fn three_decimals_at_most() {
        for (nanoseconds, text) in [
            (0, "0.0"),
            (999, "0.0"),
            (1_234_567, "1.234"),
            (30_000_000_100, "30000.0"),
            (333_333_333, "333.333"),
        ] {
            let printed = milliseconds(Duration::from_nanos(nanoseconds));
            assert_eq!(serde_json::to_string(&printed).expect("a number"), text);
        }
    }
}
