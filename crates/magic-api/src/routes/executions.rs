//! `GET /api/executions/{request_id}`: what became of a request, on whichever node it ran.
//!
//! The controller is not in the path, so the caller's bounds are held against what was found. An execution outside of them is as
//! one that does not exist: that it took place is part of what the caller may not know.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use jiff::Timestamp;
use magic_store::state::Execution;
use serde::Serialize;
use serde_json::{Map, Value};

use super::json;
use crate::auth::authorize::Authorized;
use crate::refusal::Refusal;
use crate::state::ApiState;

/// The longest identifier that a request can have; see `request_id`.
const LONGEST: usize = 128;

#[derive(Serialize)]
struct Executions<'a> {
    request_id: &'a str,
    executions: Vec<Shown<'a>>,
}

#[derive(Serialize)]
struct Shown<'a> {
    controller: &'a str,
    version: &'a str,
    node: &'a str,
    caller: Option<&'a str>,
    started_at: Timestamp,
    /// `ok`, the code of the error, or `abandoned`: the client went away first.
    outcome: &'a str,
    duration_us: i64,
    cpu_ms: Option<i64>,
    peak_memory_bytes: Option<i64>,
    /// `calls`, `effects`, and where there are some `trigger`, `replayed`, `reason`, `calls_not_told`.
    #[serde(flatten)]
    did: Map<String, Value>,
}

/// All executions of that name, the newest first; E4004 if there is none that the caller may see.
pub(super) async fn show(
    State(state): State<ApiState>,
    authorized: Authorized,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Refusal> {
    let none = || {
        Refusal::unknown(
            "there is no execution of that request; it may be too long ago, or the identifier is another",
        )
    };
    let request_id = match path {
        Ok(Path(id)) if id.len() <= LONGEST => id,
        _ => return Err(none()),
    };
    let found = state.runtime.executions(&request_id).await;
    let found = found.map_err(Refusal::of)?;
    let executions: Vec<_> = found
        .iter()
        .filter(|execution| authorized.check(&execution.controller).is_ok())
        .map(shown)
        .collect();
    if executions.is_empty() {
        return Err(none());
    }
    Ok(json(&Executions {
        request_id: &request_id,
        executions,
    }))
}

fn shown(execution: &Execution) -> Shown<'_> {
    Shown {
        controller: &execution.controller,
        version: &execution.version,
        node: &execution.node,
        caller: execution.caller.as_deref(),
        started_at: execution.started_at,
        outcome: &execution.outcome,
        duration_us: execution.duration_us,
        cpu_ms: execution.cpu_ms,
        peak_memory_bytes: execution.peak_memory_bytes,
        did: execution
            .timeline
            .as_deref()
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default(),
    }
}
