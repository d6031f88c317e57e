//! The loop that serves one request on one channel.
//!
//! The session ends with the first of: a result, an error, the end of the
//! channel, a breach of the protocol. It has no deadline and kills nothing;
//! whoever runs it does, because only they hold the evidence that tells a
//! timeout, a killed worker and a closed channel apart. Calls that are under
//! way at the end are dropped with it: a worker that is gone, or has answered,
//! waits for none of them.
//!
//! A refusal is remembered when it is given. When a controller later ends with
//! an uncaught denial, the answer is built from what this session refused, not
//! from what the worker says was refused.

use crate::budget::Budget;
use crate::call::Call;
use crate::capabilities::Capabilities;
use crate::capability::Method;
use crate::channel::{Channel, ChannelError, Next};
use crate::grants::GrantSource;
use crate::measure::{self, Measurement};
use crate::message::{FromWorker, LogLevel, WorkerError};
use crate::problem;
use crate::record::{AuditSink, CallRecord, Ending};
use futures_util::stream::{FuturesUnordered, StreamExt};
use magic_contract::{ErrorCode, Failure, Grant};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

/// Where the log lines of a controller go. Must not block.
pub trait LogSink: Send + Sync {
    /// Takes one line.
    fn log(&self, level: LogLevel, message: String, fields: Map<String, Value>);
    /// Takes a measurement, `None` for one beyond the budget; `false` if the contract declares no metric of that name.
    fn measure(&self, _name: &str, _measurement: Option<Measurement>) -> bool {
        false
    }
    /// Told once at the end how many lines the budget dropped, if any.
    fn dropped(&self, lines: u64);
}

/// How a session ended.
#[derive(Debug)]
pub enum End {
    /// The controller returned a value: its JSON text, not yet read.
    Returned(String),
    /// The controller ended without a value.
    Failed {
        /// What the worker says.
        error: WorkerError,
        /// The failure of this session that the worker's error names.
        refusal: Option<Box<Failure>>,
    },
    /// The channel ended without a result.
    Closed,
    /// The worker said something that no worker says.
    Protocol(String),
}

/// What a session works with, all of it the supervisor's own.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The rights.
    pub grants: &'a dyn GrantSource,
    /// What performs.
    pub capabilities: &'a Capabilities,
    /// When the request's time is up.
    pub deadline: Instant,
    /// Where log lines go.
    pub logs: &'a dyn LogSink,
    /// Where records go.
    pub audit: &'a dyn AuditSink,
}

impl std::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Surroundings")
            .finish_non_exhaustive()
    }
}

/// One request's session.
pub struct Session<'a, S> {
    channel: &'a mut Channel<S>,
    around: Surroundings<'a>,
    budget: Budget,
    calls: FuturesUnordered<Pin<Box<dyn Future<Output = Answered> + Send + 'a>>>,
    call_bytes: usize,
    last_call: u64,
    dropped_lines: u64,
    failures: Vec<Failure>,
}

impl<S> std::fmt::Debug for Session<'_, S> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Session")
            .field("last_call", &self.last_call)
            .finish_non_exhaustive()
    }
}

/// A call that has ended.
struct Answered {
    id: u64,
    /// Bytes of its parameters, which are free again.
    bytes: usize,
    /// The frame of its result, or why there is none.
    outcome: Result<Vec<u8>, Failure>,
}

/// An answer to a capability call.
#[derive(Serialize)]
struct Reply<'a> {
    id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ReplyError<'a>>,
}

#[derive(Serialize)]
struct ReplyError<'a> {
    code: &'static str,
    message: &'a str,
    details: &'a Map<String, Value>,
}

/// Failures kept to name the one that was not caught; a session that collects
/// more has caught the earlier ones.
const REMEMBERED_FAILURES: usize = 16;

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Session<'a, S> {
    /// A session on `channel`.
    pub fn new(channel: &'a mut Channel<S>, around: Surroundings<'a>, budget: Budget) -> Self {
        Self {
            channel,
            around,
            budget,
            calls: FuturesUnordered::new(),
            call_bytes: 0,
            last_call: 0,
            dropped_lines: 0,
            failures: Vec::new(),
        }
    }

    /// Sends the `execute` frame and serves the worker until its end.
    pub async fn serve(mut self, execute: &[u8]) -> End {
        self.channel.queue(execute);
        let end = self.messages().await;
        if self.dropped_lines > 0 {
            self.around.logs.dropped(self.dropped_lines);
        }
        end
    }

    async fn messages(&mut self) -> End {
        loop {
            let room = self.room();
            let answers = self.channel.unsent_bytes() < self.budget.bytes_at_once;
            let received = tokio::select! {
                // Calls first: one that was just read is thereby begun, and so
                // recorded, before anything after it is looked at.
                biased;
                // A worker that reads no answers gets no further ones made.
                Some(answered) = self.calls.next(), if answers && !self.calls.is_empty() => {
                    self.answer(answered);
                    continue;
                }
                received = self.channel.next(room) => received,
            };
            let message = match received {
                Ok(Next::Message(message)) => message,
                Ok(Next::End) => return End::Closed,
                Ok(Next::Room) => continue,
                Err(error) => return end_of(error),
            };
            if let ControlFlow::Break(end) = self.take(message) {
                return end;
            }
        }
    }

    /// How many unsent bytes of answers there may be for the worker to be read:
    /// none if as many calls are under way as may be.
    fn room(&self) -> usize {
        if self.channel.unsent_bytes() >= self.budget.bytes_at_once {
            // Full of answers: only sending goes on, and tells when there is
            // room for the next one.
            self.budget.bytes_at_once
        } else if self.calls.len() < self.budget.calls_at_once {
            self.budget.bytes_at_once.saturating_sub(self.call_bytes)
        } else {
            0
        }
    }

    fn take(&mut self, message: FromWorker) -> ControlFlow<End> {
        if !self.budget.charge_frame() {
            return ControlFlow::Break(End::Protocol(
                "more frames than a session may send".to_owned(),
            ));
        }
        if self.channel.received_bytes() > self.budget.bytes {
            return ControlFlow::Break(End::Protocol(
                "more bytes than a session may send".to_owned(),
            ));
        }
        match message {
            FromWorker::Ready => {
                return ControlFlow::Break(End::Protocol("ready, a second time".to_owned()));
            }
            FromWorker::Returned(text) => return ControlFlow::Break(End::Returned(text)),
            FromWorker::Failed(error) => return ControlFlow::Break(self.failed(error)),
            FromWorker::Log {
                level,
                message,
                fields,
            } => self.log(level, message, fields),
            FromWorker::LogTooLong => self.dropped_lines += 1,
            FromWorker::Call { id, method, params } => {
                if id <= self.last_call {
                    let breach = format!("call {id} after call {}", self.last_call);
                    return ControlFlow::Break(End::Protocol(breach));
                }
                self.last_call = id;
                match method.strip_prefix(measure::PREFIX) {
                    Some(verb) => self.measure(id, verb, &params),
                    None => self.begin(id, &method, params),
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn failed(&mut self, error: WorkerError) -> End {
        let named = error.code.as_deref();
        let refusal = self
            .failures
            .iter()
            .rposition(|failure| Some(failure.code.as_str()) == named)
            .map(|position| Box::new(self.failures.swap_remove(position)));
        End::Failed { error, refusal }
    }

    fn log(&mut self, level: LogLevel, message: String, fields: Map<String, Value>) {
        let bytes =
            message.len() + fields.keys().map(String::len).sum::<usize>() + 64 * fields.len();
        if self.budget.charge_log(bytes) {
            self.around.logs.log(level, message, fields);
        } else {
            self.dropped_lines += 1;
        }
    }

    /// Takes a measurement. It is answered, so that a misspelt name is seen, but it touches nothing outside and is no capability
    /// call: it has no record, and beyond its budget it is dropped, as log lines are.
    fn measure(&mut self, id: u64, verb: &str, params: &str) {
        let outcome = measure::read(verb, params).and_then(|(name, measurement)| {
            let measurement = self.budget.charge_measurement().then_some(measurement);
            if !self.around.logs.measure(&name, measurement) {
                let grant = self.around.grants.current();
                return Err(measure::undeclared(&name, grant.controller()));
            }
            result_frame(id, "null".to_owned())
        });
        let bytes = 0;
        self.answer(Answered { id, bytes, outcome });
    }

    /// Decides a call; what is allowed joins the calls under way.
    fn begin(&mut self, id: u64, name: &str, params: String) {
        let around = self.around;
        let grant = around.grants.current();
        let method = Method::parse(name);
        let method = match self.decide(&grant, method, name) {
            Ok(method) => method,
            Err(failure) => {
                around.audit.record(CallRecord {
                    call: id,
                    method: prefix(name, 64),
                    capability: method.map(Method::capability),
                    ending: Ending::Failed(&failure),
                    facts: &Map::new(),
                    policy_hash: grant.policy_hash(),
                    rule: None,
                    would_deny: &[],
                    duration: Duration::ZERO,
                    span: None,
                });
                self.answer(Answered {
                    id,
                    bytes: 0,
                    outcome: Err(failure),
                });
                return;
            }
        };
        self.call_bytes += params.len();
        self.calls
            .push(Box::pin(perform(around, grant, id, method, params)));
    }

    fn decide(
        &mut self,
        grant: &Grant,
        method: Option<Method>,
        name: &str,
    ) -> Result<Method, Failure> {
        let Some(method) = method else {
            return Err(Failure::new(
                ErrorCode::CapabilityUndeclared,
                format!(
                    "`{}` is not a method of any capability",
                    prefix(name, 64).escape_default()
                ),
            )
            .with_detail("layer", "contract"));
        };
        if !self.budget.charge_call() {
            return Err(problem::exhausted(
                "calls",
                "this request has used up its capability calls",
            ));
        }
        grant.check(method.capability())?;
        Ok(method)
    }

    /// Queues the answer to a call.
    fn answer(&mut self, answered: Answered) {
        let Answered { id, bytes, outcome } = answered;
        self.call_bytes -= bytes;
        let frame = match outcome {
            Ok(frame) => frame,
            Err(failure) => {
                let frame = error_frame(id, &failure);
                if self.failures.len() == REMEMBERED_FAILURES {
                    self.failures.remove(0);
                }
                self.failures.push(failure);
                frame
            }
        };
        self.channel.queue(&frame);
    }
}

async fn perform(
    around: Surroundings<'_>,
    grant: Arc<Grant>,
    id: u64,
    method: Method,
    params: String,
) -> Answered {
    let bytes = params.len();
    let outcome = match Call::begin(id, method, around.deadline, &grant, around.audit) {
        Ok(mut call) => {
            call.span = around.capabilities.reserve_span();
            // Framed before it is recorded, so that the record tells an answer that does not fit
            // as what the controller is told.
            let outcome = around
                .capabilities
                .perform(&mut call, &params)
                .await
                .and_then(|text| result_frame(id, text));
            call.end(&outcome);
            outcome
        }
        // The same grant has just said otherwise.
        Err(refusal) => Err(refusal),
    };
    Answered { id, bytes, outcome }
}

fn result_frame(id: u64, text: String) -> Result<Vec<u8>, Failure> {
    let result = RawValue::from_string(text).map_err(|error| {
        problem::backend("the answer could not be written", false, error.to_string())
    })?;
    let reply = Reply {
        id,
        result: Some(&result),
        error: None,
    };
    crate::encode(&reply).map_err(|_| {
        problem::exhausted(
            "bytes",
            "the answer is larger than one message; ask for less at once",
        )
    })
}

fn error_frame(id: u64, failure: &Failure) -> Vec<u8> {
    let reply = |details| Reply {
        id,
        result: None,
        error: Some(ReplyError {
            code: failure.code.as_str(),
            message: &failure.message,
            details,
        }),
    };
    let none = Map::new();
    crate::encode(&reply(&failure.details))
        .unwrap_or_else(|_| crate::encode(&reply(&none)).expect("messages of failures are short"))
}

/// At most `limit` bytes of `text`, cut at a character.
fn prefix(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

fn end_of(error: ChannelError) -> End {
    match error {
        // The peer is gone; what that means is for whoever watches the process.
        ChannelError::Socket(_) => End::Closed,
        other => End::Protocol(other.to_string()),
    }
}

#[cfg(test)]
mod tests;
