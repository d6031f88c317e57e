//! `GET /api/controllers`: what is deployed.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::json;
use crate::state::ApiState;

#[derive(Serialize)]
struct Controllers<T> {
    controllers: T,
}

/// All controllers, by name.
pub(super) async fn list(State(state): State<ApiState>) -> Response {
    let mut controllers = state.runtime.controllers();
    controllers.sort_by(|one, other| one.name.cmp(&other.name));
    json(&Controllers { controllers })
}
