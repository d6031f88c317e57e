//! `GET /api/nodes`: who shares the state, and what each of them serves.

use axum::extract::State;
use axum::response::Response;
use magic_runtime::NodeSummary;
use serde::Serialize;

use super::json;
use crate::refusal::Refusal;
use crate::state::ApiState;

#[derive(Serialize)]
struct Nodes {
    nodes: Vec<NodeSummary>,
}

/// Every node that was heard of late, by name.
pub(super) async fn list(State(state): State<ApiState>) -> Result<Response, Refusal> {
    let nodes = state.runtime.nodes().await.map_err(Refusal::of)?;
    Ok(json(&Nodes { nodes }))
}
