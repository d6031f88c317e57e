//! `GET /api/controllers`: what is deployed, as far as the caller may see it.

use axum::extract::State;
use axum::response::Response;
use magic_runtime::{ControllerSummary, Unserved};
use serde::Serialize;

use super::json;
use crate::auth::authorize::Authorized;
use crate::state::ApiState;

#[derive(Serialize)]
struct Controllers {
    controllers: Vec<ControllerSummary>,
    /// Those that are deployed and that this node cannot serve so, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unserved: Vec<Unserved>,
}

/// All controllers in the caller's scope, by name.
pub(super) async fn list(State(state): State<ApiState>, authorized: Authorized) -> Response {
    let mut controllers = state.runtime.controllers();
    let scope = authorized.caller().scope();
    controllers.retain(|controller| scope.covers(&controller.name));
    controllers.sort_by(|one, other| one.name.cmp(&other.name));
    let mut unserved = state.runtime.unserved();
    unserved.retain(|one| scope.covers(&one.name));
    json(&Controllers {
        controllers,
        unserved,
    })
}
