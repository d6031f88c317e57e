//! `GET /api/controllers/{controller}/logs`: what a controller wrote on all nodes, once as JSON or going on as server-sent events.
//!
//! Lines come from the runtime's state, in the order in which they arrived there. Every line has a number among all lines of all
//! nodes, and an event's id is its line's number. A client that lost its connection sends the last id it saw (browsers do so by
//! themselves, in `Last-Event-ID`) and goes on exactly there, on any node and after any restart; if what came in between may have
//! been forgotten by then, an event `missed` says so. Numbers of one controller have holes, since others write too.
//!
//! While the state is away, a plain question is answered with what this node has in memory, marked by `"source": "memory"` and
//! without a number to go on after; a stream waits until the state is back.

use std::collections::VecDeque;
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
use magic_runtime::{KeptLogLine, Runtime};
use magic_store::LogLine;
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;

use super::{bad_query, json, name_in};
use crate::refusal::Refusal;
use crate::state::ApiState;

/// How many lines an answer has when the client does not say, and at most.
const USUAL_LINES: u32 = 200;
const MOST_LINES: u32 = 1000;

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
    limit: Option<u32>,
    /// Only lines of this request.
    request: Option<String>,
}

#[derive(Serialize)]
struct Kept<'a> {
    controller: &'a str,
    source: &'static str,
    lines: Vec<KeptLogLine>,
    /// What to ask for next with `after`.
    next: i64,
    /// Whether lines after the number that was asked for may have been forgotten.
    missed: bool,
}

#[derive(Serialize)]
struct InMemory<'a> {
    controller: &'a str,
    source: &'static str,
    lines: Vec<&'a LogLine>,
}

/// Which lines a reader wants, and how far it has come.
struct Reader {
    runtime: Runtime,
    controller: String,
    request: Option<String>,
    /// The number of the last line that was looked at; `None` before the first look of a reader who wants the newest lines.
    after: Option<i64>,
    /// How many lines at once.
    limit: u32,
    waiting: VecDeque<Event>,
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
    see_that_it_is_known(&state, &name).await?;
    // What the client saw last, by its own header, counts before what the URL said when it first connected.
    let after = last_event_id(&headers).or(query.after).map(number);
    let mut reader = Reader {
        runtime: state.runtime.clone(),
        controller: name,
        request: query.request,
        after,
        limit: query.limit.unwrap_or(USUAL_LINES).min(MOST_LINES),
        waiting: VecDeque::new(),
    };
    if !query.follow {
        return reader.once().await;
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
    let events = follow(reader, place).take_until(state.stopping.clone().cancelled_owned());
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response())
}

/// A controller that serves, or did once: its lines outlive it.
async fn see_that_it_is_known(state: &ApiState, name: &str) -> Result<(), Refusal> {
    if state.runtime.controller(name).is_some() {
        return Ok(());
    }
    let versions = state.runtime.versions(name).await;
    versions.map(drop).map_err(Refusal::of)
}

impl Reader {
    async fn once(&mut self) -> Result<Response, Refusal> {
        let request = self.request.as_deref();
        let page = self
            .runtime
            .kept_logs(&self.controller, request, self.after, self.limit)
            .await;
        match page {
            Ok(page) => Ok(json(&Kept {
                controller: &self.controller,
                source: "state",
                lines: page.lines,
                next: page.next,
                missed: page.missed,
            })),
            // A number counts lines of the state, so that nothing here comes after it.
            Err(failure) if self.after.is_some() => Err(Refusal::of(failure)),
            Err(_) => {
                let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
                let lines = self.runtime.logs().tail(&self.controller, None, limit);
                let wanted = |line: &&LogLine| {
                    request.is_none_or(|request| line.request_id.as_deref() == Some(request))
                };
                Ok(json(&InMemory {
                    controller: &self.controller,
                    source: "memory",
                    lines: lines.iter().map(AsRef::as_ref).filter(wanted).collect(),
                }))
            }
        }
    }

    /// The next event; waits for it.
    async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return event;
            }
            let request = self.request.as_deref();
            let page = self
                .runtime
                .kept_logs(&self.controller, request, self.after, self.limit)
                .await;
            match page {
                Ok(page) => {
                    if page.missed {
                        self.waiting.push_back(missed());
                    }
                    let moved = self.after != Some(page.next);
                    self.after = Some(page.next);
                    self.limit = USUAL_LINES;
                    self.waiting.extend(page.lines.iter().map(event_of));
                    if !self.waiting.is_empty() || moved {
                        continue;
                    }
                }
                // The state is away; what comes meanwhile is there when it is back.
                Err(failure) => tracing::debug!(internal = failure.internal, "{}", failure.message),
            }
            self.runtime.wait_for_kept_logs().await;
        }
    }
}

fn follow(
    reader: Reader,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold((reader, place), |(mut reader, place)| async {
        let event = reader.next().await;
        Some((Ok(event), (reader, place)))
    })
}

/// JSON escapes line breaks, so that no line can end its event and begin another.
fn event_of(line: &KeptLogLine) -> Event {
    let text = serde_json::to_string(line).expect("a line is JSON");
    Event::default()
        .event("line")
        .id(line.cursor.to_string())
        .data(text)
}

fn missed() -> Event {
    Event::default().event("missed").data("{\"missed\":true}")
}

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn last_event_id(headers: &HeaderMap) -> Option<u64> {
    headers.get("last-event-id")?.to_str().ok()?.parse().ok()
}
