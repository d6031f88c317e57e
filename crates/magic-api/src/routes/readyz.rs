//! `GET /api/readyz`: whether requests should be sent here. For load balancers, which look at the status alone.

use axum::extract::State;
use axum::response::Response;
use hyper::StatusCode;
use magic_contract::{ErrorCode, Failure, Reason};
use serde::Serialize;

use super::json;
use crate::refusal::Refusal;
use crate::state::ApiState;

#[derive(Serialize)]
struct Ready {
    status: &'static str,
}

/// 200 when ready; else 503 with the reasons, as an envelope of E3005.
pub(super) async fn readyz(State(state): State<ApiState>) -> Result<Response, Refusal> {
    let readiness = state.runtime.readiness();
    if readiness.ready && !state.stopping.is_cancelled() {
        return Ok(json(&Ready { status: "ready" }));
    }
    let failure = Failure::new(
        ErrorCode::NoCapacity,
        "this supervisor does not take requests now",
    )
    .with_reason(Reason::Draining)
    .with_detail("reasons", readiness.reasons);
    Err(Refusal::of(failure).with_status(StatusCode::SERVICE_UNAVAILABLE))
}
