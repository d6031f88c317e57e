//! `GET /api/controllers/{controller}/logs`: what a controller wrote, once as JSON or going on as server-sent events.
//!
//! Every line has a number, and an event's id is its line's number. A client that lost its connection sends the last id it saw
//! (browsers do so by themselves, in `Last-Event-ID`) and continues exactly there; if lines were dropped meanwhile, an event
//! `missed` says how many, so that a hole is never silent.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt};
use hyper::HeaderMap;
use magic_contract::{ErrorCode, Failure, Reason};
use magic_store::{Followed, LogLine, Subscription};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;

use super::{bad_query, json, name_in};
use crate::refusal::Refusal;
use crate::state::ApiState;

/// How many lines an answer has when the client does not say, and at most.
const USUAL_LINES: usize = 200;
const MOST_LINES: usize = 5000;

/// How often a quiet stream says that it lives, so that proxies and we ourselves notice a dead peer.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The query of the logs route.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogsQuery {
    /// Go on with new lines as they come.
    #[serde(default)]
    follow: bool,
    /// Only lines after this number.
    after: Option<u64>,
    /// At most so many lines; when following, so many of the past.
    limit: Option<usize>,
}

#[derive(Serialize)]
struct Logs<'a> {
    controller: &'a str,
    lines: Vec<&'a LogLine>,
    newest: u64,
    dropped: u64,
}

/// Lines of one controller, or E4004.
pub(super) async fn logs(
    State(state): State<ApiState>,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<LogsQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let name = name_in(path)?;
    let Query(query) = query.map_err(|rejection| bad_query(&rejection))?;
    if state.runtime.controller(&name).is_none() {
        return Err(Refusal::unknown(format!(
            "no controller {name} is deployed"
        )));
    }
    let limit = query.limit.unwrap_or(USUAL_LINES).min(MOST_LINES);
    if !query.follow {
        let lines = state.runtime.logs().tail(&name, query.after, limit);
        let statistics = state.runtime.logs().statistics(&name).unwrap_or_default();
        return Ok(json(&Logs {
            controller: &name,
            lines: lines.iter().map(AsRef::as_ref).collect(),
            newest: statistics.newest,
            dropped: statistics.dropped,
        }));
    }
    let place = Arc::clone(&state.followers)
        .try_acquire_owned()
        .map_err(|_| {
            Refusal::of(
                Failure::new(
                    ErrorCode::NoCapacity,
                    "too many clients follow logs already",
                )
                .with_reason(Reason::Queue),
            )
        })?;
    // What the client saw last, by its own header, counts before what the URL said when it first connected.
    let after = last_event_id(&headers).or(query.after);
    let (past, subscription) = begin(&state, &name, after, limit);
    let events = stream::iter(past.into_iter().map(|line| Ok(line_event(&line))))
        .chain(follow(subscription, place))
        .take_until(state.stopping.clone().cancelled_owned());
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response())
}

/// Where to begin: after a number, the subscription itself brings the past; without one, the last lines come first and the
/// subscription begins right after them, so that no line is lost or seen twice in between.
fn begin(
    state: &ApiState,
    name: &str,
    after: Option<u64>,
    limit: usize,
) -> (Vec<Arc<LogLine>>, Subscription) {
    let logs = state.runtime.logs();
    if after.is_some() {
        return (Vec::new(), logs.subscribe(name, after));
    }
    let newest = logs.statistics(name).unwrap_or_default().newest;
    let past = logs.tail(name, None, limit);
    let seen = past.last().map_or(newest, |line| line.sequence);
    (past, logs.subscribe(name, Some(seen)))
}

fn follow(
    subscription: Subscription,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold((subscription, place), |(mut subscription, place)| async {
        let events: Vec<_> = match subscription.next().await? {
            Followed::Missed(missed) => {
                vec![Ok(Event::default()
                    .event("missed")
                    .data(format!("{{\"missed\":{missed}}}")))]
            }
            Followed::Lines(lines) => lines.iter().map(|line| Ok(line_event(line))).collect(),
        };
        Some((stream::iter(events), (subscription, place)))
    })
    .flatten()
}

/// JSON escapes line breaks, so that no line can end its event and begin another.
fn line_event(line: &LogLine) -> Event {
    let text = serde_json::to_string(line).expect("a line is JSON");
    Event::default()
        .event("line")
        .id(line.sequence.to_string())
        .data(text)
}

fn last_event_id(headers: &HeaderMap) -> Option<u64> {
    headers.get("last-event-id")?.to_str().ok()?.parse().ok()
}
