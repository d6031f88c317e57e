//! `GET /api/audit`: records of the audit log, the newest first.
//!
//! The log has no index, so an answer is a scan from the end. How much one answer may read is bounded; when that is used up, or
//! there are more records than were asked for, the answer says where to go on: `next`, for `?before=`. So every question ends
//! soon, and a client that follows `next` until it is null has seen everything.
//!
//! Reading is not verifying: that takes the files and a key that was kept elsewhere, and is done with `magic audit verify`.

use std::path::Path;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use hyper::StatusCode;
use jiff::Timestamp;
use magic_contract::{ErrorCode, Failure, Reason};
use magic_store::{AuditFilter, AuditOrder, AuditReadError, AuditReader, StoredRecord};
use serde::{Deserialize, Serialize};

use super::{bad_query, json};
use crate::refusal::Refusal;
use crate::state::ApiState;

/// How many records an answer has when the client does not say, and at most.
const USUAL_RECORDS: usize = 100;
const MOST_RECORDS: usize = 1000;

/// How much of the log one answer may read, in bytes. It also bounds what the answer holds.
const MOST_READ: u64 = 16 * 1024 * 1024;

/// The query of the audit route.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditQuery {
    controller: Option<String>,
    request_id: Option<String>,
    capability: Option<String>,
    decision: Option<String>,
    kind: Option<String>,
    /// Not older than this.
    since: Option<Timestamp>,
    /// Older than this.
    until: Option<Timestamp>,
    /// Only records with a number below this.
    before: Option<u64>,
    /// At most so many.
    limit: Option<usize>,
}

/// The answer.
#[derive(Debug, Serialize)]
struct Audit {
    records: Vec<StoredRecord>,
    /// What to send as `before` to go on; null at the beginning of the log.
    next: Option<u64>,
}

/// Records of the audit log.
pub(super) async fn audit(
    State(state): State<ApiState>,
    query: Result<Query<AuditQuery>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(query) = query.map_err(|rejection| bad_query(&rejection))?;
    let limit = query.limit.unwrap_or(USUAL_RECORDS).clamp(1, MOST_RECORDS);
    let filter = filter(query)?;
    let directory = state
        .audit_directory
        .ok_or_else(|| Refusal::unknown("this server keeps no audit log"))?;
    let place = Arc::clone(&state.audit_readers)
        .try_acquire_owned()
        .map_err(|_| {
            Refusal::of(
                Failure::new(
                    ErrorCode::NoCapacity,
                    "too many questions are looked up in the audit log already",
                )
                .with_reason(Reason::Queue),
            )
        })?;
    let found = tokio::task::spawn_blocking(move || {
        let _place = place;
        find(&directory, filter, limit, MOST_READ)
    });
    match found.await {
        Ok(Ok(audit)) => Ok(json(&audit)),
        Ok(Err(error)) => Err(unreadable(&error.to_string())),
        Err(panic) => Err(unreadable(&panic.to_string())),
    }
}

/// Reads from the end of the log.
fn find(
    directory: &Path,
    filter: AuditFilter,
    limit: usize,
    most_read: u64,
) -> Result<Audit, AuditReadError> {
    let mut reader =
        AuditReader::open(directory, filter, AuditOrder::NewestFirst)?.reading_at_most(most_read);
    let records: Vec<_> = reader.by_ref().take(limit).collect::<Result<_, _>>()?;
    let next = if records.len() == limit {
        records.last().map(|record| record.seq)
    } else {
        reader.stopped_at()
    };
    Ok(Audit { records, next })
}

fn filter(query: AuditQuery) -> Result<AuditFilter, Refusal> {
    Ok(AuditFilter {
        decision: word("decision", query.decision.as_deref())?,
        kind: word("kind", query.kind.as_deref())?,
        controller: query.controller,
        request_id: query.request_id,
        capability: query.capability,
        since: query.since,
        until: query.until,
        before: query.before,
        after: None,
    })
}

/// One of a closed set of words.
fn word<T>(name: &str, text: Option<&str>) -> Result<Option<T>, Refusal>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    text.map(str::parse::<T>).transpose().map_err(|error| {
        Refusal::http(StatusCode::BAD_REQUEST, "the query is not acceptable")
            .with_detail("field", name)
            .with_detail("constraint", "query")
            .with_detail("expected", error.to_string())
    })
}

fn unreadable(internal: &str) -> Refusal {
    Refusal::of(
        Failure::new(
            ErrorCode::ControllerFailed,
            "the audit log cannot be read; type magic audit verify on the server",
        )
        .with_reason(Reason::Internal)
        .with_internal(internal),
    )
}

#[cfg(test)]
mod tests {
    use magic_store::{AuditLog, AuditOptions, Kind, Record};

    use super::*;

    async fn log(folder: &Path, records: usize) -> AuditOptions {
        let options = AuditOptions::below(folder, "node-1");
        let log = AuditLog::open(&options).expect("a log");
        for number in 0..records {
            let record = Record {
                controller: Some(["One", "Two"][number % 2].to_owned()),
                ..Record::new(Kind::Call)
            };
            log.append(&record).durable().await.expect("durable");
        }
        log.close().await.expect("it ends in order");
        options
    }

    /// Following `next` shows every record once, whether the limit or the bound of reading ended an answer.
    #[tokio::test]
    async fn pages_cover_the_log() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = log(folder.path(), 30).await.places.directory;
        for (limit, most_read) in [(7, MOST_READ), (1000, 900), (3, 900), (1000, MOST_READ)] {
            let mut filter = AuditFilter {
                controller: Some("Two".to_owned()),
                ..AuditFilter::default()
            };
            let mut found = Vec::new();
            loop {
                let page = find(&directory, filter.clone(), limit, most_read).expect("readable");
                assert!(page.records.len() <= limit);
                found.extend(page.records.iter().map(|record| record.seq));
                match page.next {
                    Some(next) => filter.before = Some(next),
                    None => break,
                }
            }
            // The first entry is a signature, and records begin with number 2.
            let expected: Vec<_> = (2..32).filter(|seq| seq % 2 == 1).rev().collect();
            assert_eq!(found, expected, "{limit} {most_read}");
        }
    }

    /// Words that mean nothing are refused, and the answer names the ones that do.
    #[test]
    fn words_are_closed_sets() {
        let query = |text| serde_json::from_str::<AuditQuery>(text).expect("a query");
        let found = filter(query(r#"{"kind": "deploy", "decision": "deny"}"#)).expect("words");
        assert_eq!(found.kind, Some(Kind::Deploy));
        let refused = filter(query(r#"{"kind": "nothing"}"#)).expect_err("no word");
        assert!(
            format!("{refused:?}").contains("call, intent"),
            "{refused:?}"
        );
    }
}
