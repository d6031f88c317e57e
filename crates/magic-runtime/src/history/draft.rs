//! What is to be said of one execution, put together by those who know a part of it.
//!
//! The path of the request knows the outcome, its sinks the calls, and the
//! cleaner, long after the answer has left, what was used. They share a draft,
//! and it is put down when the last of them lets go of it. So nobody waits for
//! another, and no part arrives too late.

use super::History;
use crate::version::Version;
use magic_sandbox::Lap;
use magic_store::state::Execution;
use serde::Serialize;
use serde_json::{Map, Value};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The first so many calls are told one by one; of the others, how many there were.
const CALLS_TOLD: usize = 500;

/// The outcome of a request whose client went away first.
const ABANDONED: &str = "abandoned";

/// One execution while it goes on.
#[derive(Debug)]
pub(crate) struct Draft {
    history: Arc<History>,
    began: Instant,
    told: Mutex<Told>,
}

#[derive(Debug)]
struct Told {
    execution: Execution,
    did: Did,
}

/// What it did, as it is stored.
#[derive(Debug, Default, Serialize)]
struct Did {
    calls: Vec<Call>,
    #[serde(skip_serializing_if = "is_zero")]
    calls_not_told: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    replayed: Option<String>,
    #[serde(flatten)]
    facts: Map<String, Value>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks like this")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// One capability call: no payload, no target.
#[derive(Debug, Serialize)]
pub(crate) struct Call {
    pub(crate) method: String,
    /// From the arrival of the request, in microseconds.
    pub(crate) start_us: u64,
    pub(crate) duration_us: u64,
    pub(crate) decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<&'static str>,
}

impl Draft {
    pub(crate) fn new(
        history: &Arc<History>,
        request_id: &str,
        version: &Version,
        caller: &str,
        began: Instant,
    ) -> Arc<Self> {
        let execution = Execution {
            request_id: request_id.to_owned(),
            controller: version.contract.name.to_string(),
            version: version.contract.version.to_string(),
            node: history.node.clone(),
            caller: Some(caller.to_owned()),
            started_at: jiff::Timestamp::now(),
            outcome: ABANDONED.to_owned(),
            duration_us: 0,
            cpu_ms: None,
            peak_memory_bytes: None,
            timeline: None,
        };
        Arc::new(Self {
            history: history.clone(),
            began,
            told: Mutex::new(Told {
                execution,
                did: Did::default(),
            }),
        })
    }

    /// Notes a call that has ended just now.
    pub(crate) fn call(
        &self,
        method: String,
        duration: Duration,
        decision: &'static str,
        code: Option<&'static str>,
    ) {
        let start = self.began.elapsed().saturating_sub(duration);
        let did = &mut self.lock().did;
        if did.calls.len() == CALLS_TOLD {
            did.calls_not_told += 1;
            return;
        }
        did.calls.push(Call {
            method,
            start_us: unsigned(start),
            duration_us: unsigned(duration),
            decision,
            code,
        });
    }

    /// Notes what the record of the end says.
    pub(crate) fn facts(&self, mut facts: Map<String, Value>) {
        // The number of calls; here are the calls.
        facts.remove("calls");
        self.lock().did.facts = facts;
    }

    /// Notes that the answer was that of an earlier request.
    pub(crate) fn replayed(&self, of: &str) {
        self.lock().did.replayed = Some(of.to_owned());
    }

    /// Notes the end: `ok` or a code.
    pub(crate) fn outcome(&self, outcome: &str, duration: Duration) {
        let execution = &mut self.lock().execution;
        outcome.clone_into(&mut execution.outcome);
        execution.duration_us = signed(unsigned(duration));
    }

    /// Notes what its process and all it started have used.
    pub(crate) fn used(&self, lap: Lap) {
        let execution = &mut self.lock().execution;
        execution.cpu_ms = lap.cpu_micros.map(|micros| signed(micros.div_ceil(1_000)));
        execution.peak_memory_bytes = lap.memory_peak_bytes.map(signed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let began = self.began;
        let Told { execution, did } = self.told.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut execution = execution.clone();
        if execution.outcome == ABANDONED {
            execution.duration_us = signed(unsigned(began.elapsed()));
        }
        execution.timeline = serde_json::to_string(did).ok();
        let weight = size_of::<Execution>()
            + execution.request_id.len()
            + execution.controller.len()
            + execution.caller.as_ref().map_or(0, String::len)
            + execution.timeline.as_ref().map_or(0, String::len);
        self.history.executions.push(execution, weight);
    }
}

fn unsigned(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
