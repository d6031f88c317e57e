//! How a request ends: with everything it did, or with nothing.
//!
//! From the moment a request has sessions until it is answered, a [`Closing`]
//! owns them, and there are three ways out of it. `succeed` makes records,
//! commit and the record of the end durable in that order and gives the answer
//! back; `fail` undoes and records; dropping it, as a client that goes away
//! does, fails without anybody to tell. The first two run in a task of their
//! own: a commit that was begun is never abandoned half-way because somebody
//! hung up. Such a task keeps the request's place taken, and the runtime closes
//! neither log nor database before it has ended.

use crate::admission::Permit;
use crate::idempotency::Claimed;
use crate::request::StartedBy;
use crate::runtime::Shared;
use crate::sinks::Sinks;
use magic_broker::db::{CommitError, IdempotentAnswer};
use magic_broker::{Capabilities, TraceId};
use magic_contract::{ErrorCode, Failure, Reason};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// A request that has not ended yet.
#[derive(Debug)]
pub(crate) struct Closing {
    open: Option<Open>,
}

#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) shared: Arc<Shared>,
    /// Shared with the worker: the place is free when both are over.
    pub(crate) _permit: Arc<Permit>,
    pub(crate) capabilities: Arc<Capabilities>,
    pub(crate) sinks: Arc<Sinks>,
    /// The right to store the answer, if the client named the request.
    pub(crate) claim: Option<Claimed>,
    pub(crate) arrived: Instant,
    /// The message that started it, for the record.
    pub(crate) started_by: Option<StartedBy>,
    /// The trace that it belongs to, for the record.
    pub(crate) trace_id: Option<TraceId>,
}

impl Closing {
    pub(crate) fn new(open: Open) -> Self {
        Self { open: Some(open) }
    }

    /// Commits, and returns the output when everything about it is durable.
    ///
    /// # Errors
    ///
    /// The failure to answer instead; its details say what became of the
    /// effects if that is not nothing.
    pub(crate) async fn succeed(mut self, output: Value) -> Result<Value, Failure> {
        let Some(mut open) = self.open.take() else {
            return Ok(output);
        };
        if open.claim.is_none() && open.sinks.calls() == 0 && !open.capabilities.has_effects() {
            // Nothing was done that anybody could rely on; the record follows.
            open.record(Ok(()), "none");
            return Ok(output);
        }
        let closings = open.shared.closings.clone();
        in_a_task(&closings, async move {
            open.commit(&output).await.map(|()| output)
        })
        .await
        .flatten()
    }

    /// Undoes, records, and returns the failure as it may be shown.
    pub(crate) async fn fail(mut self, failure: Failure) -> Failure {
        let Some(mut open) = self.open.take() else {
            return failure;
        };
        let failure = open.redacted(failure);
        if open.claim.is_none() && open.sinks.calls() == 0 {
            open.record(Err(&failure), "none");
            // Received messages may still have to be given back.
            drop(open);
            return failure;
        }
        let closings = open.shared.closings.clone();
        in_a_task(&closings, async move {
            open.undo().await;
            open.record(Err(&failure), "none");
            // What is not recorded is not answered, refusals included.
            open.sinks.durable().await.err().unwrap_or(failure)
        })
        .await
        .unwrap_or_else(|lost| lost)
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        let Some(mut open) = self.open.take() else {
            return;
        };
        let closings = open.shared.closings.clone();
        let undone = async move {
            open.undo().await;
            let mut facts = open.facts("none");
            facts.insert("abandoned".to_owned(), json!(true));
            open.sinks.execution(None, open.arrived.elapsed(), facts);
        };
        closings.spawn(undone.in_current_span());
    }
}

impl Open {
    /// audit intent durable -> commit -> result recorded -> record durable.
    async fn commit(&mut self, output: &Value) -> Result<(), Failure> {
        if let Err(unrecorded) = self.sinks.durable().await {
            self.undo().await;
            return Err(unrecorded);
        }
        let text = self.claim.as_ref().map(|claim| claim.stored(output));
        let answer = self.claim.as_ref().zip(text.as_deref());
        let answer = answer.map(|(claim, answer)| IdempotentAnswer {
            token: claim.token(),
            answer,
            version: &claim.version,
        });
        let had_effects = self.capabilities.has_effects();
        match self.capabilities.commit(answer).await {
            Ok(settled) => {
                self.keep_claim();
                self.record(Ok(()), if had_effects { "committed" } else { "none" });
                let delivered = async {
                    if settled.touches_cache
                        && let Some(services) = &self.shared.services
                    {
                        services.deliverer.settled().await;
                    }
                };
                let (recorded, ()) = tokio::join!(self.sinks.durable(), delivered);
                recorded.map_err(|failure| failure.with_detail("effects", "committed"))
            }
            Err(CommitError::RolledBack(failure)) => {
                let failure = self.redacted(failure);
                self.release_claim().await;
                self.record(Err(&failure), "none");
                self.sinks.durable().await?;
                Err(failure)
            }
            Err(CommitError::Unknown(failure)) => {
                let failure = self.redacted(failure).with_detail("effects", "unknown");
                // If the commit took place, the answer is stored, and who asks
                // again gets it.
                self.keep_claim();
                self.record(Err(&failure), "unknown");
                // That it is unknown matters more than that the log has stopped.
                if let Err(unrecorded) = self.sinks.durable().await {
                    tracing::error!(internal = unrecorded.internal, "{}", unrecorded.message);
                }
                Err(failure)
            }
        }
    }

    async fn undo(&mut self) {
        self.capabilities.abandon().await;
        self.release_claim().await;
    }

    async fn release_claim(&mut self) {
        if let Some(claim) = self.claim.take() {
            claim.release().await;
        }
    }

    /// Leaves the claim to its lease, or to the answer that was stored for it.
    fn keep_claim(&mut self) {
        if let Some(claim) = self.claim.take() {
            claim.keep();
        }
    }

    fn record(&self, ended: Result<(), &Failure>, effects: &str) {
        let facts = self.facts(effects);
        self.sinks
            .execution(Some(ended), self.arrived.elapsed(), facts);
    }

    fn facts(&self, effects: &str) -> Map<String, Value> {
        // What took place call by call is told by the calls' own records.
        let at_once = self.capabilities.is_immediate() && self.sinks.calls() > 0;
        let effects = if at_once { "immediate" } else { effects };
        let mut facts = Map::from_iter([
            ("effects".to_owned(), json!(effects)),
            ("calls".to_owned(), json!(self.sinks.calls())),
        ]);
        if let Some(trace) = &self.trace_id {
            facts.insert("trace_id".to_owned(), json!(trace.to_string()));
        }
        if let Some(message) = &self.started_by {
            facts.insert("trigger".to_owned(), json!(message));
        }
        facts
    }

    /// The failure without this request's secrets.
    fn redacted(&self, mut failure: Failure) -> Failure {
        let redactor = &self.sinks.redactor;
        failure.message = redactor.text(&failure.message).into_owned();
        redactor.members(&mut failure.details);
        failure.internal = failure
            .internal
            .map(|text| redactor.text(&text).into_owned().into_boxed_str());
        failure
    }
}

/// Runs to the end whoever waits for it.
///
/// # Errors
///
/// E3003 with reason `internal` if the work did not get there.
async fn in_a_task<T: Send + 'static>(
    closings: &TaskTracker,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Failure> {
    let ended = closings.spawn(work.in_current_span()).await;
    ended.map_err(|error| {
        Failure::new(
            ErrorCode::ControllerFailed,
            "the request could not be ended",
        )
        .with_reason(Reason::Internal)
        .with_internal(error.to_string())
    })
}
