//! `GET /api/self-test`: which layers of the sandbox stand, tried for real.

use axum::extract::State;
use axum::response::Response;

use super::json;
use crate::state::ApiState;

/// Runs the self-test and says what it found. Always 200: what it found is the answer.
pub(super) async fn self_test(State(state): State<ApiState>) -> Response {
    json(&state.runtime.self_test().await)
}
