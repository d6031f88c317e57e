//! `POST /api/controllers`: deploy a bundle. The body is the archive.
//!
//! A client that accepts `text/event-stream` is told of each step as it is done, and of the end in an event `deployed` or `error`
//! whose data is what the answer would have been; others wait for the answer. The deploy goes on when its client goes away.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use hyper::header::ACCEPT;
use hyper::{HeaderMap, StatusCode};
use magic_contract::{ErrorCode, Failure, Reason};
use magic_runtime::{Bundle, DeployOrder, Deployed, Share, Step};
use serde::Deserialize;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;

use super::versions::actor;
use super::{bad_query, json};
use crate::auth::authorize::Authorized;
use crate::refusal::Refusal;
use crate::request_id::RequestId;
use crate::state::ApiState;

/// By how much a canary may fail more often than the active version, if nothing is said.
const USUAL_MARGIN: f64 = 0.05;

/// The query of a deploy.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeployQuery {
    /// Of a hundred requests so many go to the new version.
    canary: Option<u8>,
    /// By how much its rate of failures may be above the active version's, 0 to 1.
    margin: Option<f64>,
    /// It may break who relies on the version before it.
    #[serde(default)]
    allow_breaking: bool,
    /// Why, for the history.
    reason: Option<String>,
}

/// Deploys: 201 for a version that was not there, 200 if nothing changed.
pub(super) async fn deploy(
    State(state): State<ApiState>,
    authorized: Authorized,
    Extension(request_id): Extension<RequestId>,
    query: Result<Query<DeployQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let Query(query) = query.map_err(|rejection| bad_query(&rejection))?;
    let share = share(&query)?;
    let actor = actor(&authorized, query.reason)?;
    let place = Arc::clone(&state.uploads)
        .acquire_owned()
        .await
        .expect("the semaphore is never closed");
    let body = state.bodies.read_archive(&headers, body).await?;
    let archive = body.bytes.clone();
    let bundle = tokio::task::spawn_blocking(move || Bundle::from_archive(&archive))
        .await
        .unwrap_or_else(|error| {
            Err(Failure::new(
                ErrorCode::DeploymentFailed,
                "reading the archive was cut short",
            )
            .with_reason(Reason::Internal)
            .with_internal(error.to_string()))
        })
        .map_err(Refusal::of)?;
    // From here on the runtime bounds how many are in memory.
    drop((body, place));
    authorized.check(bundle.contract().name.as_str())?;
    let (progress, steps) = unbounded_channel();
    let order = DeployOrder {
        bundle: Box::new(bundle),
        share,
        allow_breaking: query.allow_breaking,
        actor,
        progress: Some(progress),
    };
    let runtime = state.runtime.clone();
    let deploying = async move { runtime.deploy_bundle(order).await };
    if !wants_events(&headers) {
        let deployed = deploying.await.map_err(Refusal::of)?;
        return Ok(answer(&deployed));
    }
    Ok(Sse::new(events(steps, tokio::spawn(deploying), request_id))
        .keep_alive(KeepAlive::new())
        .into_response())
}

fn share(query: &DeployQuery) -> Result<Share, Refusal> {
    let refused = |message: &str| {
        Err(Refusal::http(StatusCode::BAD_REQUEST, message).with_detail("constraint", "query"))
    };
    let margin = query.margin.unwrap_or(USUAL_MARGIN);
    match query.canary {
        None if query.margin.is_some() => refused("`margin` says nothing without `canary`"),
        None => Ok(Share::All),
        Some(percent) if (1..=99).contains(&percent) && (0.0..=1.0).contains(&margin) => {
            Ok(Share::Canary { percent, margin })
        }
        Some(_) => refused("a canary gets 1 to 99 percent, with a margin from 0 to 1"),
    }
}

fn wants_events(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("text/event-stream"))
}

fn answer(deployed: &Deployed) -> Response {
    let mut response = json(deployed);
    if deployed.changed {
        *response.status_mut() = StatusCode::CREATED;
    }
    response
}

/// The steps as they come, and then the end.
fn events(
    steps: UnboundedReceiver<Step>,
    deploying: JoinHandle<Result<Deployed, Failure>>,
    request_id: RequestId,
) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(Some((steps, deploying, request_id)), |state| async {
        let (mut steps, deploying, request_id) = state?;
        if let Some(step) = steps.recv().await {
            let event = Event::default().event("step").data(text(&step));
            return Some((Ok(event), Some((steps, deploying, request_id))));
        }
        let event = match deploying.await {
            Ok(Ok(deployed)) => Event::default().event("deployed").data(text(&deployed)),
            Ok(Err(failure)) => error_event(failure, &request_id),
            Err(error) => error_event(
                Failure::new(ErrorCode::DeploymentFailed, "the deploy was cut short")
                    .with_reason(Reason::Internal)
                    .with_internal(error.to_string()),
                &request_id,
            ),
        };
        Some((Ok(event), None))
    })
}

fn error_event(failure: Failure, request_id: &RequestId) -> Event {
    let refusal = Refusal::of(failure);
    Event::default()
        .event("error")
        .data(text(&refusal.envelope(request_id)))
}

fn text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("answers have string keys and finite numbers")
}
