//! What becomes of a controller's versions: `GET …/versions`, `POST …/rollback`, `POST …/canary`, `DELETE /api/controllers/{name}`.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use hyper::{HeaderMap, StatusCode};
use magic_contract::{JsonLimits, read_json};
use magic_runtime::Actor;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{json, name_in};
use crate::auth::authorize::Authorized;
use crate::refusal::Refusal;
use crate::state::ApiState;

#[derive(Serialize)]
struct Versions<'a> {
    controller: &'a str,
    #[serde(flatten)]
    known: magic_runtime::Versions,
}

/// The body of a rollback.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RollBack {
    /// The version; the one before, if none is named.
    to: Option<String>,
    reason: Option<String>,
}

/// The body that ends a canary.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndCanary {
    action: CanaryEnd,
    reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum CanaryEnd {
    /// It becomes the active version.
    Promote,
    /// It gets no further requests.
    Return,
}

/// All versions of a controller, the newest first.
pub(super) async fn list(
    State(state): State<ApiState>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Refusal> {
    let name = name_in(path)?;
    let known = state.runtime.versions(&name).await.map_err(Refusal::of)?;
    Ok(json(&Versions {
        controller: &name,
        known,
    }))
}

/// Makes an earlier version the active one.
pub(super) async fn roll_back(
    State(state): State<ApiState>,
    authorized: Authorized,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let name = name_in(path)?;
    let asked: RollBack = read(&state, &headers, body).await?;
    let actor = actor(&authorized, asked.reason)?;
    let moved = state
        .runtime
        .roll_back(&name, asked.to.as_deref(), &actor)
        .await
        .map_err(Refusal::of)?;
    Ok(json(&moved))
}

/// Ends the trial of a canary, one way or the other.
pub(super) async fn end_canary(
    State(state): State<ApiState>,
    authorized: Authorized,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let name = name_in(path)?;
    let asked: EndCanary = read(&state, &headers, body).await?;
    let actor = actor(&authorized, asked.reason)?;
    let moved = state
        .runtime
        .end_canary(&name, asked.action == CanaryEnd::Promote, &actor)
        .await
        .map_err(Refusal::of)?;
    Ok(json(&moved))
}

/// Takes a controller out of service.
pub(super) async fn delete(
    State(state): State<ApiState>,
    authorized: Authorized,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Refusal> {
    let name = name_in(path)?;
    let actor = actor(&authorized, None)?;
    let moved = state
        .runtime
        .delete(&name, &actor)
        .await
        .map_err(Refusal::of)?;
    Ok(json(&moved))
}

/// The longest reason that is kept, in bytes; it stays in the history for ever.
const LONGEST_REASON: usize = 1_000;

/// Who changes something, and why.
pub(super) fn actor(authorized: &Authorized, reason: Option<String>) -> Result<Actor, Refusal> {
    if reason
        .as_ref()
        .is_some_and(|reason| reason.len() > LONGEST_REASON)
    {
        let message = format!("a reason has at most {LONGEST_REASON} bytes");
        return Err(
            Refusal::http(StatusCode::BAD_REQUEST, &message).with_detail("constraint", "reason")
        );
    }
    Ok(Actor {
        subject: authorized.caller().subject().to_owned(),
        reason,
    })
}

async fn read<T: DeserializeOwned>(
    state: &ApiState,
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Refusal> {
    let body = state.bodies.read(headers, body).await?;
    let value = read_json(&body.bytes, JsonLimits::default()).map_err(Refusal::of)?;
    serde_json::from_value(value).map_err(|error| {
        let said: String = error.to_string().chars().take(300).collect();
        Refusal::http(
            StatusCode::BAD_REQUEST,
            "the body is not what this route takes",
        )
        .with_detail("constraint", "body")
        .with_detail("received", said)
    })
}
