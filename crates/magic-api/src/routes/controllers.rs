//! `GET /api/controllers`: what is deployed, as far as the caller may see it.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::json;
use crate::auth::authorize::Authorized;
use crate::state::ApiState;

#[derive(Serialize)]
struct Controllers<T> {
    controllers: T,
}

/// All controllers in the caller's scope, by name.
pub(super) async fn list(State(state): State<ApiState>, authorized: Authorized) -> Response {
    let mut controllers = state.runtime.controllers();
    let scope = authorized.caller().scope();
    controllers.retain(|controller| scope.covers(&controller.name));
    controllers.sort_by(|one, other| one.name.cmp(&other.name));
    json(&Controllers { controllers })
}
