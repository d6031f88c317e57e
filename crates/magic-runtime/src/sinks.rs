//! Where one request's log lines and records go.
//!
//! Everything passes the request's redactor first: a secret that was lent to
//! this request can come back in a line, in an error text of a back end, or as
//! the name of a table that does not exist. The audit log gets the full record;
//! the run log gets a line for people, for as long as it is kept.

use crate::capture::{self, Source};
use crate::history::Draft;
use crate::meters::Meters;
use crate::traces::ERROR_TYPE;
use magic_broker::secrets::Redactor;
use magic_broker::{
    AuditSink, CallRecord, Durable, Ending, Intent, LogLevel, LogSink, Measurement, Method,
    SpanEnd, SpanId, TraceContext,
};
use magic_contract::{ErrorCode, Failure, Reason, RuleReference};
use magic_store::{
    AuditFailed, AuditLog, Decision, Kind, Level, Record, Rule, RunLogs, Stream, Ticket,
};
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The sinks of one request.
#[derive(Debug)]
pub(crate) struct Sinks {
    pub(crate) source: Source,
    pub(crate) logs: RunLogs,
    pub(crate) redactor: Redactor,
    /// `None` where nothing is served, as in a self-test.
    pub(crate) audit: Option<AuditLog>,
    pub(crate) caller: String,
    /// What is to be said of the execution.
    draft: Option<Arc<Draft>>,
    recorded: Mutex<Recorded>,
    /// What counts its calls and takes its measurements; nothing while examples are tried.
    meters: Option<Arc<Meters>>,
    /// The trace of the request, and the span that its calls are below.
    trace: Option<(TraceContext, Option<SpanId>)>,
}

/// What was recorded so far.
#[derive(Debug, Default)]
struct Recorded {
    /// Capability calls.
    calls: u64,
    /// The newest record. Records become durable in their order, so that it
    /// speaks for all before it.
    newest: Option<Ticket>,
    /// Why a record was not taken.
    refused: Option<AuditFailed>,
}

impl Sinks {
    pub(crate) fn new(
        source: Source,
        logs: RunLogs,
        redactor: Redactor,
        audit: Option<AuditLog>,
        caller: String,
    ) -> Self {
        Self {
            source,
            logs,
            redactor,
            audit,
            caller,
            draft: None,
            recorded: Mutex::default(),
            meters: None,
            trace: None,
        }
    }

    /// These sinks, telling the draft as well.
    pub(crate) fn telling(self, draft: Option<Arc<Draft>>) -> Self {
        Self { draft, ..self }
    }

    /// These sinks, with what they count.
    pub(crate) fn counted_by(mut self, meters: Arc<Meters>) -> Self {
        self.meters = Some(meters);
        self
    }

    /// These sinks, telling of calls as spans below that one, where spans are recorded.
    pub(crate) fn traced(mut self, trace: Option<TraceContext>, below: Option<SpanId>) -> Self {
        self.trace = trace.map(|trace| (trace, below));
        self
    }

    /// How many capability calls were recorded.
    pub(crate) fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Ends when everything recorded so far is on stable storage.
    ///
    /// # Errors
    ///
    /// E3003 with reason `internal` if something is not and never will be.
    pub(crate) async fn durable(&self) -> Result<(), Failure> {
        let (newest, refused) = {
            let mut recorded = self.lock();
            (recorded.newest.take(), recorded.refused.clone())
        };
        if let Some(refused) = refused {
            return Err(unrecorded(&refused));
        }
        match newest {
            Some(ticket) => ticket.durable().await.map(drop).map_err(|why| {
                // Asked once more, the answer is the same.
                self.lock().refused = Some(why.clone());
                unrecorded(&why)
            }),
            None => Ok(()),
        }
    }

    /// Records how the request ended; `None` when its client went away first.
    pub(crate) fn execution(
        &self,
        ended: Option<Result<(), &Failure>>,
        duration: Duration,
        facts: Map<String, Value>,
    ) {
        let mut record = self.record_of(Kind::Execution);
        let failure = ended.and_then(Result::err);
        record.code = failure.map(|failure| failure.code.as_str().to_owned());
        record.duration_us = Some(microseconds(duration));
        record.fields = facts;
        if let Some(reason) = failure.and_then(Failure::reason) {
            record.fields.insert("reason".to_owned(), json!(reason));
        }
        if let Some(draft) = &self.draft {
            let mut facts = record.fields.clone();
            self.redactor.members(&mut facts);
            draft.facts(facts);
            if ended.is_some() {
                draft.outcome(record.code.as_deref().unwrap_or("ok"), duration);
            }
        }
        self.append(record);
    }

    fn record_of(&self, kind: Kind) -> Record {
        Record {
            request_id: self.source.request_id.clone(),
            controller: Some(self.source.controller.clone()),
            version: Some(self.source.version.clone()),
            caller: Some(self.caller.clone()),
            ..Record::new(kind)
        }
    }

    fn append(&self, mut record: Record) {
        self.redactor.members(&mut record.fields);
        // A line that would allow a target names the target, which may be anything.
        if let Some(line) = record.rule.as_mut().and_then(|rule| rule.line.as_mut())
            && let std::borrow::Cow::Owned(redacted) = self.redactor.text(line)
        {
            *line = redacted;
        }
        let Some(audit) = &self.audit else {
            return;
        };
        let ticket = audit.append(&record);
        let mut recorded = self.lock();
        // A record that was refused is not made good by one that was taken.
        if !recorded.newest.as_ref().is_some_and(Ticket::is_refused) {
            recorded.newest = Some(ticket);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Recorded> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer must not leave before its records are durable; so it does not leave.
fn unrecorded(why: &AuditFailed) -> Failure {
    let retriable = matches!(why, AuditFailed::Full);
    Failure::new(
        ErrorCode::ControllerFailed,
        "the audit log did not take the records of this request, so nothing of it is acknowledged",
    )
    .with_reason(Reason::Internal)
    .with_detail("retriable", json!(retriable))
    .with_internal(why.to_string())
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl LogSink for Sinks {
    fn log(&self, level: LogLevel, message: String, mut fields: Map<String, Value>) {
        let level = match level {
            LogLevel::Debug => Level::Debug,
            LogLevel::Info => Level::Info,
            LogLevel::Warning => Level::Warning,
            LogLevel::Error => Level::Error,
        };
        let message = self.redactor.text(&message);
        let message = capture::escape(message.as_bytes());
        self.redactor.members(&mut fields);
        self.source
            .append(&self.logs, Stream::Log, level, message, fields);
    }

    fn measure(&self, name: &str, measurement: Option<Measurement>) -> bool {
        // While examples are tried nothing is counted.
        let meters = self.meters.as_ref();
        meters.is_none_or(|meters| meters.measure(name, measurement))
    }

    fn dropped(&self, lines: u64) {
        let fields = Map::from_iter([("dropped_lines".to_owned(), json!(lines))]);
        let message = format!("{lines} log lines beyond this request's budget were dropped");
        self.source
            .append(&self.logs, Stream::Runtime, Level::Warning, message, fields);
    }
}

impl AuditSink for Sinks {
    fn record(&self, call: CallRecord<'_>) {
        let mut record = self.record_of(Kind::Call);
        let denied = call.ending.is_denial();
        record.capability = call.capability.map(|kind| kind.as_str().to_owned());
        record.method = Some(self.redactor.text(call.method).into_owned());
        record.decision = Some(if denied {
            Decision::Deny
        } else {
            Decision::Allow
        });
        record.policy_hash = Some(call.policy_hash.to_owned());
        record.duration_us = Some(microseconds(call.duration));
        record.fields = call.facts.clone();
        record.fields.insert("call".to_owned(), json!(call.call));
        record.rule = call.rule.map(policy_rule);
        if !call.would_deny.is_empty() {
            let names: Vec<_> = call
                .would_deny
                .iter()
                .map(|rule| rule.name.as_str())
                .collect();
            record.fields.insert("would_deny".to_owned(), json!(names));
        }
        match call.ending {
            Ending::Performed => {}
            Ending::Failed(failure) => {
                record.code = Some(failure.code.as_str().to_owned());
                if denied {
                    record.rule = Some(self.redacted(rule_of(failure)));
                }
            }
            Ending::Unfinished => {
                record.fields.insert("unfinished".to_owned(), json!(true));
            }
        }
        if let Some(meters) = &self.meters {
            let (ended, cut_off) = match call.ending {
                Ending::Performed => (Ok(()), false),
                Ending::Failed(failure) => (Err(failure.code), false),
                Ending::Unfinished => (Ok(()), true),
            };
            meters.call(call.capability, ended, cut_off);
        }
        self.trace(&call);
        self.lock().calls += 1;
        if let Some(draft) = &self.draft {
            let method = record.method.clone().unwrap_or_default();
            let code = match call.ending {
                Ending::Failed(failure) => Some(failure.code.as_str()),
                Ending::Performed | Ending::Unfinished => None,
            };
            let decision = if denied { "deny" } else { "allow" };
            draft.call(method, call.duration, decision, code);
        }
        self.tell(&call);
        self.append(record);
    }

    fn intend<'a>(&'a self, intent: Intent<'a>) -> Durable<'a> {
        let mut record = self.record_of(Kind::Intent);
        record.capability = Some(intent.method.capability().as_str().to_owned());
        record.method = Some(intent.method.as_str().to_owned());
        record.policy_hash = Some(intent.policy_hash.to_owned());
        record.fields = intent.facts.clone();
        record.fields.insert("call".to_owned(), json!(intent.call));
        self.append(record);
        Box::pin(self.durable())
    }
}

impl Sinks {
    /// The line that would allow a target repeats the target, and any text can be one.
    fn redacted(&self, mut rule: Rule) -> Rule {
        for text in [&mut rule.name, &mut rule.line].into_iter().flatten() {
            *text = self.redactor.text(text).into_owned();
        }
        rule
    }

    /// A span beside the record: what was called and how it ended, and nothing of what it was called with.
    fn trace(&self, call: &CallRecord<'_>) {
        let Some((trace, below)) = &self.trace else {
            return;
        };
        // A name that is no method is whatever the controller sent.
        let name = Method::parse(call.method).map_or("call", Method::as_str);
        let mut span = trace.call(call.span, *below, name.into(), call.duration);
        if let Some(capability) = call.capability {
            span.note("magic.capability", capability.as_str());
        }
        match call.ending {
            Ending::Performed => span.end(SpanEnd::Fine),
            Ending::Failed(failure) => {
                span.note(ERROR_TYPE, failure.code.as_str());
                span.end(SpanEnd::Failed);
            }
            // Dropped, it says so itself.
            Ending::Unfinished => drop(span),
        }
    }

    /// A line for people beside the record.
    fn tell(&self, call: &CallRecord<'_>) {
        let method = self.redactor.text(call.method);
        let method = capture::escape(method.as_bytes());
        let (message, code) = match call.ending {
            Ending::Performed => (format!("{method} done"), None),
            Ending::Failed(failure) => {
                let said = self.redactor.text(&failure.message);
                let word = if call.ending.is_denial() {
                    "refused"
                } else {
                    "failed"
                };
                if let Some(internal) = &failure.internal {
                    let internal = self.redactor.text(internal);
                    tracing::warn!(
                        request_id = self.source.request_id,
                        controller = self.source.controller,
                        %method,
                        %internal,
                        "a capability call failed"
                    );
                }
                let said = capture::escape(said.as_bytes());
                (
                    format!("{method} {word}: {said}"),
                    Some(failure.code.as_str()),
                )
            }
            Ending::Unfinished => (
                format!("{method} was cut off by the end of its request"),
                None,
            ),
        };
        let capability = call.capability.map(magic_contract::CapabilityKind::as_str);
        let fields = Map::from_iter([
            ("capability".to_owned(), json!(capability)),
            ("code".to_owned(), json!(code)),
        ]);
        self.source
            .append(&self.logs, Stream::Runtime, Level::Info, message, fields);
    }
}

/// What decided, as the refusal itself says.
fn rule_of(failure: &Failure) -> Rule {
    let text = |name: &str| Some(failure.details.get(name)?.as_str()?.to_owned());
    Rule {
        layer: text("layer").unwrap_or_else(|| match failure.code {
            ErrorCode::BudgetExceeded => "budget".to_owned(),
            _ => "broker".to_owned(),
        }),
        name: text("rule").or_else(|| text("budget")),
        line: text("line"),
    }
}

fn policy_rule(rule: &RuleReference) -> Rule {
    Rule {
        layer: "policy".to_owned(),
        name: Some(rule.name.clone()),
        line: Some(format!("{}:{}", rule.file, rule.line)),
    }
}
