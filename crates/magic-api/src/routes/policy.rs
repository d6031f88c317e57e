//! `GET /api/policy`: the policy in force, defaults included.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;

use super::json;
use crate::state::ApiState;

#[derive(Serialize)]
struct PolicyInForce<'a> {
    hash: &'a str,
    policy: Value,
}

/// The policy and its hash, which is that of the audit records.
pub(super) async fn show(State(state): State<ApiState>) -> Response {
    let policy = state.runtime.policy();
    json(&PolicyInForce {
        hash: policy.hash(),
        policy: policy.to_json(),
    })
}
