//! The loop that serves one request on one channel.
//!
//! The session ends with the first of: a result, an error, the end of the
//! channel, a breach of the protocol. It has no deadline and kills nothing;
//! whoever runs it does, because only they hold the evidence that tells a
//! timeout, a killed worker and a closed channel apart.
//!
//! A refusal is remembered when it is given. When a controller later ends with
//! an uncaught denial, the answer is built from what this session refused, not
//! from what the worker says was refused.

use crate::budget::Budget;
use crate::capability::Method;
use crate::channel::{Channel, ChannelError};
use crate::message::{FromWorker, LogLevel, WorkerError};
use magic_contract::{CapabilityKind, ErrorCode, Failure, Grant, Reason};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::io::{AsyncRead, AsyncWrite};

/// Where the log lines of a controller go. Must not block.
pub trait LogSink: Send + Sync {
    /// Takes one line.
    fn log(&self, level: LogLevel, message: String, fields: Map<String, Value>);
    /// Told once at the end how many lines the budget dropped, if any.
    fn dropped(&self, lines: u64);
}

/// Where the record of a capability call goes. Must not block.
pub trait AuditSink: Send + Sync {
    /// Takes one record.
    fn record(&self, record: CallRecord<'_>);
}

/// One capability call and what was decided.
#[derive(Debug)]
pub struct CallRecord<'a> {
    /// The number of the call within its session.
    pub call: u64,
    /// The method's name as sent; untrusted and at most 64 bytes of it.
    pub method: &'a str,
    /// The capability the method needs; `None` for a method that does not exist.
    pub capability: Option<CapabilityKind>,
    /// The refusal; `None` when the call was allowed.
    pub refusal: Option<&'a Failure>,
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
        /// The refusal of this session that the worker's error names.
        refusal: Option<Box<Failure>>,
    },
    /// The channel ended without a result.
    Closed,
    /// The worker said something that no worker says.
    Protocol(String),
}

/// One request's session.
#[derive(Debug)]
pub struct Session<'a, S, L, A> {
    channel: &'a mut Channel<S>,
    grant: &'a Grant,
    budget: Budget,
    logs: &'a L,
    audit: &'a A,
    last_call: u64,
    dropped_lines: u64,
    refusals: Vec<Failure>,
}

/// An answer to a capability call.
#[derive(Serialize)]
struct Reply<'a> {
    id: u64,
    error: ReplyError<'a>,
}

#[derive(Serialize)]
struct ReplyError<'a> {
    code: &'static str,
    message: &'a str,
    details: &'a Map<String, Value>,
}

/// Refusals kept to name the one that was not caught; a session that collects
/// more has caught the earlier ones.
const REMEMBERED_REFUSALS: usize = 16;

impl<'a, S, L, A> Session<'a, S, L, A>
where
    S: AsyncRead + AsyncWrite + Unpin,
    L: LogSink,
    A: AuditSink,
{
    /// A session on `channel` with the rights of `grant`.
    pub fn new(
        channel: &'a mut Channel<S>,
        grant: &'a Grant,
        budget: Budget,
        logs: &'a L,
        audit: &'a A,
    ) -> Self {
        Self {
            channel,
            grant,
            budget,
            logs,
            audit,
            last_call: 0,
            dropped_lines: 0,
            refusals: Vec::new(),
        }
    }

    /// Sends the `execute` frame and serves the worker until its end.
    pub async fn serve(mut self, execute: &[u8]) -> End {
        let end = match self.channel.send(execute).await {
            Ok(()) => self.messages().await,
            Err(error) => end_of(error),
        };
        if self.dropped_lines > 0 {
            self.logs.dropped(self.dropped_lines);
        }
        end
    }

    async fn messages(&mut self) -> End {
        loop {
            let message = match self.channel.receive().await {
                Ok(Some(message)) => message,
                Ok(None) => return End::Closed,
                Err(error) => return end_of(error),
            };
            if !self.budget.charge_frame() {
                return End::Protocol("more frames than a session may send".to_owned());
            }
            if self.channel.received_bytes() > self.budget.bytes {
                return End::Protocol("more bytes than a session may send".to_owned());
            }
            match message {
                FromWorker::Ready => return End::Protocol("ready, a second time".to_owned()),
                FromWorker::Returned(text) => return End::Returned(text),
                FromWorker::Failed(error) => return self.failed(error),
                FromWorker::Log {
                    level,
                    message,
                    fields,
                } => self.log(level, message, fields),
                FromWorker::LogTooLong => self.dropped_lines += 1,
                FromWorker::Call { id, method, .. } => {
                    if id <= self.last_call {
                        return End::Protocol(format!("call {id} after call {}", self.last_call));
                    }
                    self.last_call = id;
                    if let Err(end) = self.call(id, &method).await {
                        return end;
                    }
                }
            }
        }
    }

    fn failed(&mut self, error: WorkerError) -> End {
        let named = error.code.as_deref();
        let refusal = self
            .refusals
            .iter()
            .rposition(|refusal| Some(refusal.code.as_str()) == named)
            .map(|position| Box::new(self.refusals.swap_remove(position)));
        End::Failed { error, refusal }
    }

    fn log(&mut self, level: LogLevel, message: String, fields: Map<String, Value>) {
        let bytes =
            message.len() + fields.keys().map(String::len).sum::<usize>() + 64 * fields.len();
        if self.budget.charge_log(bytes) {
            self.logs.log(level, message, fields);
        } else {
            self.dropped_lines += 1;
        }
    }

    /// Decides one call, records the decision, answers.
    async fn call(&mut self, id: u64, name: &str) -> Result<(), End> {
        let method = Method::parse(name);
        let failure = self.decide(method, name);
        self.audit.record(CallRecord {
            call: id,
            method: prefix(name, 64),
            capability: method.map(Method::capability),
            refusal: Some(&failure),
        });
        let reply = Reply {
            id,
            error: ReplyError {
                code: failure.code.as_str(),
                message: &failure.message,
                details: &failure.details,
            },
        };
        let frame = crate::encode(&reply).map_err(|error| End::Protocol(error.to_string()))?;
        if self.refusals.len() < REMEMBERED_REFUSALS {
            self.refusals.push(failure);
        }
        self.channel.send(&frame).await.map_err(end_of)
    }

    /// Why the call is not performed. This build has no back end for any
    /// capability, so even an allowed call ends in a failure that says so.
    fn decide(&mut self, method: Option<Method>, name: &str) -> Failure {
        let Some(method) = method else {
            return Failure::new(
                ErrorCode::CapabilityUndeclared,
                format!(
                    "`{}` is not a method of any capability",
                    prefix(name, 64).escape_default()
                ),
            );
        };
        if !self.budget.charge_call() {
            return Failure::new(
                ErrorCode::BudgetExceeded,
                "this request has used up its capability calls",
            );
        }
        match self.grant.check(method.capability()) {
            Err(refusal) => refusal,
            Ok(_) => Failure::new(
                ErrorCode::ControllerFailed,
                format!(
                    "this runtime has no back end for `{}`",
                    method.capability().as_str()
                ),
            )
            .with_reason(Reason::Backend),
        }
    }
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
