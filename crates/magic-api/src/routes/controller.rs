//! `GET /api/controllers/{controller}`: one controller with its contract.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;

use super::{json, name_in};
use crate::refusal::Refusal;
use crate::state::ApiState;

/// The controller's metadata, or E4004.
pub(super) async fn show(
    State(state): State<ApiState>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Refusal> {
    let name = name_in(path)?;
    match state.runtime.controller(&name) {
        Some(detail) => Ok(json(&detail)),
        None => Err(Refusal::unknown(format!(
            "no controller {name} is deployed"
        ))),
    }
}
