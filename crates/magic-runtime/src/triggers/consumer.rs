//! One consumer: the messages of one queue for one deployment.
//!
//! The order is: wait until there may be a message, wait for a place, take one
//! message. A place that is held while nothing waits would be kept from
//! callers, and a message that is taken without a place would use up its lease.

use super::LEASE;
use crate::admission::Permit;
use crate::capture::Source;
use crate::deployment::Deployment;
use crate::invoke;
use crate::request::{Answer, Caller, Failed, Request, StartedBy};
use crate::runtime::Shared;
use crate::traces;
use magic_broker::queue::{Delivery, QueueError, QueueKey, Queues};
use magic_broker::{Effect, GrantSource, SpanEnd, SpanKind, TraceContext};
use magic_contract::{CapabilityKind, ErrorCode, Failure, QueueName, Target};
use magic_store::{Decision, Kind, Level, Record, Rule, Stream};
use serde_json::{Map, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tracing::Instrument;

/// Messages of one queue that run at once, unless the contract says less.
const AT_ONCE: u32 = 4;

/// How often a lease is extended: twice can fail before it ends.
const EXTEND_EVERY: Duration = Duration::from_secs(5);

/// After a failure of the queue, or while the policy or the audit log forbids.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The pause after the first failed attempt; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Back ends take longer to come back than a controller takes to be lucky.
const FIRST_PAUSE_OF_BACK_ENDS: Duration = Duration::from_secs(4);

const LAST_PAUSE: Duration = Duration::from_secs(300);

/// The queue of one trigger, for one deployment. Clones are the same consumer.
#[derive(Debug, Clone)]
pub(super) struct Consumer {
    shared: Arc<Shared>,
    deployment: Arc<Deployment>,
    queues: Queues,
    name: QueueName,
    key: QueueKey,
}

/// How a message's run ended.
enum Run {
    Ended(Result<Answer, Failed>),
    /// It did not run, or was cut off, because the consumer ends.
    Stopped,
}

impl Consumer {
    pub(super) fn new(
        shared: Arc<Shared>,
        deployment: Arc<Deployment>,
        queues: Queues,
        name: &QueueName,
    ) -> Self {
        let contract = deployment.contract();
        let bare = contract
            .capability(CapabilityKind::QueueSubscribe)
            .is_none_or(magic_contract::Capability::is_bare);
        // The same rule as for `queue.receive`.
        let key = if bare {
            QueueKey::private(&contract.name, name)
        } else {
            QueueKey::shared(name)
        };
        Self {
            shared,
            deployment,
            queues,
            name: name.clone(),
            key,
        }
    }

    /// Consumes until the deployment is withdrawn or the runtime drains.
    pub(super) async fn run(self) {
        let at_once = self.deployment.concurrency.min(AT_ONCE);
        let turns = Arc::new(Semaphore::new(at_once as usize));
        let mut troubled = false;
        loop {
            let next = tokio::select! {
                biased;
                () = self.ending() => break,
                next = self.next(&turns) => next,
            };
            match next {
                // Policy and log may have changed while it waited for a place.
                Ok(_) if !self.is_permitted() => continue,
                Ok((turn, permit)) => {
                    // Not to be cut off: what was handed out is run or given back.
                    match self.queues.receive(&self.key, 1, Some(LEASE)).await {
                        Ok(deliveries) => {
                            troubled = false;
                            // One was asked for.
                            if let Some(delivery) = deliveries.into_iter().next() {
                                let consumer = self.clone();
                                let triggers = &self.shared.triggers;
                                triggers.tasks.spawn(async move {
                                    consumer.handle(permit, delivery).await;
                                    drop(turn);
                                });
                            }
                            continue;
                        }
                        Err(error) => self.tell_trouble(&mut troubled, &error),
                    }
                }
                Err(error) => self.tell_trouble(&mut troubled, &error),
            }
            tokio::select! {
                () = self.ending() => break,
                () = sleep(LOOK_AGAIN) => {}
            }
        }
    }

    /// Ends when no further message may be taken.
    async fn ending(&self) {
        tokio::select! {
            () = self.shared.triggers.stop.cancelled() => {}
            () = self.deployment.withdrawn.cancelled() => {}
        }
    }

    /// Ends when there may be a message, and a turn and a place for it.
    async fn next(
        &self,
        turns: &Arc<Semaphore>,
    ) -> Result<(Option<OwnedSemaphorePermit>, Permit), QueueError> {
        let turn = turns.clone().acquire_owned().await.ok();
        self.permitted().await;
        self.queues.wait(&self.key).await?;
        Ok((turn, self.deployment.admission.enter_unhurried().await))
    }

    /// Ends when contract and policy both let this controller receive, and its
    /// records can be kept.
    async fn permitted(&self) {
        let mut refused: Option<Failure> = None;
        loop {
            match self.judge() {
                Ok(()) if self.is_recorded() => return,
                // The log says so itself, and so does readiness.
                Ok(()) => {}
                Err(failure) => {
                    if refused
                        .as_ref()
                        .is_none_or(|last| last.code != failure.code)
                    {
                        self.record_refusal(&failure);
                    }
                    refused = Some(failure);
                }
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Whether a message may be taken at this moment.
    fn is_permitted(&self) -> bool {
        self.judge().is_ok() && self.is_recorded()
    }

    /// Whether records are kept.
    fn is_recorded(&self) -> bool {
        let services = self.shared.services.as_ref();
        services.is_none_or(|services| services.audit.health().is_ok())
    }

    fn judge(&self) -> Result<(), Failure> {
        let grant = self.deployment.version.current();
        let allowance = grant.check(CapabilityKind::QueueSubscribe)?;
        allowance.check(&Target::Queue(self.name.as_str()))
    }

    /// Runs one message to its end, and says to the queue what became of it.
    async fn handle(&self, permit: Permit, delivery: Delivery) {
        let request_id = format!("req_{}", ulid::Ulid::generate());
        let run = tokio::select! {
            run = self.attempts(permit, &delivery, &request_id) => run,
            never = self.keep_lease(&delivery) => match never {},
        };
        let said = match run {
            Run::Ended(Ok(_)) => return,
            Run::Stopped => {
                self.queues
                    .release(&self.key, &delivery.receipt, Duration::ZERO)
                    .await
            }
            Run::Ended(Err(failed)) => {
                self.give_back(&delivery, &request_id, &failed.failure)
                    .await
            }
        };
        if let Err(error) = said {
            tracing::warn!(
                queue = self.key.as_str(), message_id = delivery.id, %error,
                "a message could not be given back; it is handed out again after its lease"
            );
        }
    }

    /// Runs the message; again, while all that fails is that there is no room.
    async fn attempts(&self, permit: Permit, delivery: &Delivery, request_id: &str) -> Run {
        let mut permit = Some(permit);
        loop {
            let run = async {
                let permit = match permit.take() {
                    Some(permit) => permit,
                    None => self.deployment.admission.enter_unhurried().await,
                };
                let trace = self.trace(request_id);
                let lines = traces::log_span(request_id, trace.as_ref());
                let request = self.request(delivery, request_id, trace.clone());
                let run = invoke::invoke_on(&self.shared, &self.deployment, permit, request);
                let ended = run.instrument(lines).await;
                match (&trace, &ended) {
                    (None, _) => {}
                    (Some(trace), Ok(_)) => trace.end(SpanEnd::Fine),
                    (Some(trace), Err(failed)) => {
                        trace.note(traces::ERROR_TYPE, failed.failure.code.as_str());
                        trace.end(SpanEnd::Failed);
                    }
                }
                ended
            };
            let ended = tokio::select! {
                ended = run => ended,
                // Dropping a request undoes it.
                () = self.shared.triggers.cut.cancelled() => return Run::Stopped,
            };
            match &ended {
                Err(failed) if failed.failure.code == ErrorCode::NoCapacity => {}
                _ => return Run::Ended(ended),
            }
            tokio::select! {
                () = self.ending() => return Run::Stopped,
                () = sleep(LOOK_AGAIN) => {}
            }
            // It goes back, and is taken again when it may be.
            if !self.is_permitted() {
                return Run::Stopped;
            }
        }
    }

    /// A trace of this run's own, where traces are recorded: a message belongs to nobody's.
    fn trace(&self, request_id: &str) -> Option<TraceContext> {
        let sink = self.shared.services.as_ref()?.spans.as_ref()?;
        let trace = TraceContext::begin(sink, None, "message", SpanKind::Consumer)?;
        trace.note("messaging.destination.name", self.key.label().to_owned());
        trace.note(traces::REQUEST_ID, request_id.to_owned());
        Some(trace)
    }

    fn request(
        &self,
        delivery: &Delivery,
        request_id: &str,
        trace: Option<TraceContext>,
    ) -> Request {
        Request {
            request_id: request_id.to_owned(),
            controller: self.deployment.contract().name.to_string(),
            version: None,
            body: delivery.body.clone().into(),
            caller: Caller {
                subject: self.caller(),
                roles: Vec::new(),
            },
            idempotency_key: None,
            trace,
            started_by: Some(self.started_by(delivery)),
        }
    }

    fn started_by(&self, delivery: &Delivery) -> StartedBy {
        StartedBy {
            queue: self.key.label().to_owned(),
            message: delivery.id.clone(),
            attempt: delivery.attempt,
            acknowledges: Effect::Ack {
                queue: self.key.as_str().to_owned(),
                receipt: delivery.receipt.clone(),
            },
        }
    }

    fn caller(&self) -> String {
        format!("queue:{}", self.key.label())
    }

    /// Extends the lease for as long as it is asked.
    async fn keep_lease(&self, delivery: &Delivery) -> Infallible {
        loop {
            sleep(EXTEND_EVERY).await;
            match self
                .queues
                .extend(&self.key, &delivery.receipt, LEASE)
                .await
            {
                Ok(true) => {}
                // Also right after the acknowledgement was delivered.
                Ok(false) => tracing::debug!(message_id = delivery.id, "the lease had ended"),
                Err(error) => {
                    tracing::warn!(message_id = delivery.id, %error, "a lease could not be extended");
                }
            }
        }
    }

    /// After a failure: another attempt, or the dead letters.
    async fn give_back(
        &self,
        delivery: &Delivery,
        request_id: &str,
        failure: &Failure,
    ) -> Result<bool, QueueError> {
        let code = failure.code.as_str();
        let reason = failure
            .reason()
            .map_or_else(|| code.to_owned(), |reason| format!("{code} {reason}"));
        // What was committed, or may have been, is acknowledged by the outbox; a
        // receipt that was given back would not be there for it.
        let committed = failure
            .details
            .get("effects")
            .and_then(serde_json::Value::as_str);
        if failure.reason() == Some("commit_unknown")
            || matches!(committed, Some("committed" | "unknown"))
        {
            self.tell(
                delivery,
                request_id,
                failure,
                "whether it was acknowledged shows when its lease ends",
            );
            return Ok(true);
        }
        let hopeless = matches!(
            failure.code,
            ErrorCode::InvalidInput | ErrorCode::UnacceptableBody
        );
        if hopeless {
            // No session was opened, so nobody else records it.
            self.record_input(delivery, request_id, failure);
        }
        // A dead letter cannot become one, and must not come back at once for ever.
        if hopeless && !self.key.is_dead_letters() {
            self.tell(
                delivery,
                request_id,
                failure,
                "no further attempt can succeed; it is a dead letter",
            );
            return self
                .queues
                .bury(&self.key, &delivery.receipt, &reason)
                .await;
        }
        let pause = pause_after(delivery.attempt, failure);
        let most = self.queues.options().attempts;
        let next = if self.key.is_dead_letters() || delivery.attempt < most {
            format!("it is tried again in {pause:?}")
        } else {
            "that was the last attempt; it is a dead letter".to_owned()
        };
        self.tell(delivery, request_id, failure, &next);
        self.queues
            .retry(&self.key, &delivery.receipt, pause, &reason)
            .await
    }

    /// A line for people, who have no answer to look at.
    fn tell(&self, delivery: &Delivery, request_id: &str, failure: &Failure, next: &str) {
        let source = Source {
            request_id: Some(request_id.to_owned()),
            ..self.deployment.version.source()
        };
        let message = format!(
            "message {} of queue {}, attempt {}, failed with {}: {next}",
            delivery.id,
            self.key.label(),
            delivery.attempt,
            failure.code.as_str(),
        );
        let logs = &self.shared.launcher.logs;
        source.append(logs, Stream::Runtime, Level::Warning, message, Map::new());
    }

    fn record_of(&self, failure: &Failure) -> Record {
        let contract = self.deployment.contract();
        Record {
            controller: Some(contract.name.to_string()),
            version: Some(contract.version.to_string()),
            caller: Some(self.caller()),
            code: Some(failure.code.as_str().to_owned()),
            ..Record::new(Kind::Execution)
        }
    }

    fn record_input(&self, delivery: &Delivery, request_id: &str, failure: &Failure) {
        let mut record = self.record_of(failure);
        record.request_id = Some(request_id.to_owned());
        record.fields = Map::from_iter([
            ("effects".to_owned(), json!("none")),
            ("trigger".to_owned(), json!(self.started_by(delivery))),
        ]);
        self.shared.record(&record);
    }

    /// Told once, when it begins to be refused.
    fn record_refusal(&self, failure: &Failure) {
        tracing::warn!(
            queue = self.key.as_str(),
            controller = self.deployment.contract().name.as_str(),
            code = failure.code.as_str(),
            "messages do not start this controller: {}",
            failure.message
        );
        let text = |name: &str| Some(failure.details.get(name)?.as_str()?.to_owned());
        let mut record = self.record_of(failure);
        record.capability = Some(CapabilityKind::QueueSubscribe.as_str().to_owned());
        record.decision = Some(Decision::Deny);
        record.rule = Some(Rule {
            layer: text("layer").unwrap_or_default(),
            name: text("rule"),
            line: text("line"),
        });
        record.policy_hash = Some(self.deployment.version.current().policy_hash().to_owned());
        let trigger = json!({ "queue": self.key.label() });
        record.fields = Map::from_iter([("trigger".to_owned(), trigger)]);
        self.shared.record(&record);
    }

    fn tell_trouble(&self, troubled: &mut bool, error: &QueueError) {
        if !std::mem::replace(troubled, true) {
            tracing::warn!(queue = self.key.as_str(), %error, "messages cannot be received; trying on");
        }
    }
}

/// The pause before the attempt that follows this one.
fn pause_after(attempt: u32, failure: &Failure) -> Duration {
    let back_end = failure.reason() == Some("backend") || failure.reason() == Some("internal");
    let first = if back_end {
        FIRST_PAUSE_OF_BACK_ENDS
    } else {
        FIRST_PAUSE
    };
    let doubled = 1_u32 << attempt.saturating_sub(1).min(16);
    first.saturating_mul(doubled).min(LAST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use magic_contract::Reason;

    /// Pauses double from the first attempt on, are longer for back ends, and end.
    #[test]
    fn pauses_double_and_end() {
        let raised = Failure::new(ErrorCode::ControllerFailed, "").with_reason(Reason::Raised);
        let backend = Failure::new(ErrorCode::ControllerFailed, "").with_reason(Reason::Backend);
        let table = [
            (0, 250, 4_000),
            (1, 250, 4_000),
            (2, 500, 8_000),
            (4, 2_000, 32_000),
            (u32::MAX, 300_000, 300_000),
        ];
        for (attempt, of_controller, of_back_end) in table {
            let expected = Duration::from_millis(of_controller);
            assert_eq!(pause_after(attempt, &raised), expected, "{attempt}");
            let expected = Duration::from_millis(of_back_end);
            assert_eq!(pause_after(attempt, &backend), expected, "{attempt}");
        }
    }
}
