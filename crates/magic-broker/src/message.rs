//! What a worker may say, parsed strictly.
//!
//! A frame is one JSON object with a closed set of members. Anything else ends
//! the session: a worker is driven by our own runner, so a message that does
//! not fit was not written by it. Errors name the rule, never the content, as
//! the text ends up in a log.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The identifier of the one execution that a worker serves.
const EXECUTION: u64 = 0;

/// The longest parameters of a log line, in bytes of text. The SDK cuts lines
/// far below this, and what is longer than a kept line would be cut anyway: it
/// is not made a tree of first, which takes up to a hundred times its size.
const LOG_LIMIT: usize = 256 * 1024;

/// One parsed message of a worker.
#[derive(Debug, PartialEq)]
pub enum FromWorker {
    /// The worker has rehearsed and waits for its request.
    Ready,
    /// The controller logged a line.
    Log {
        /// Severity, as the controller chose it.
        level: LogLevel,
        /// The text of the line.
        message: String,
        /// Structured fields beside the text.
        fields: Map<String, Value>,
    },
    /// The controller logged a line that is too long to be read.
    LogTooLong,
    /// The controller asks for a capability.
    Call {
        /// Rising number of the call within this session, from 1.
        id: u64,
        /// Dotted method name, for example `db.query`.
        method: String,
        /// Parameters as JSON text, `null` if there are none. Text, because a
        /// tree of hostile parameters is many times as large, and a refused
        /// call needs none.
        params: String,
    },
    /// The controller returned a value: its JSON text, not yet read, since a
    /// tree is many times as large and is bounded by whoever reads it.
    Returned(String),
    /// The controller ended without a value.
    Failed(WorkerError),
}

/// Severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Debug,
    Info,
    Warning,
    Error,
}

/// Why a controller ended without a value, as the worker tells it. It labels
/// an outcome and never decides one that the supervisor can see for itself.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerError {
    /// What kind of end it was.
    pub kind: WorkerErrorKind,
    /// Type name of the exception.
    #[serde(default)]
    pub exception: Option<String>,
    /// Text of the exception.
    #[serde(default)]
    pub message: String,
    /// The author's frames of the traceback.
    #[serde(default)]
    pub traceback: Option<String>,
    /// The author's own code, or the catalogue code of an uncaught denial.
    #[serde(default)]
    pub code: Option<String>,
    /// The author's own details.
    #[serde(default)]
    pub details: Option<Map<String, Value>>,
    /// Whether the author says that trying again makes sense.
    #[serde(default)]
    pub retriable: bool,
    /// JSON Pointer of the part of an output that is not JSON.
    #[serde(default)]
    pub path: Option<String>,
    /// Exit status that `SystemExit` asked for.
    #[serde(default)]
    pub status: Option<i64>,
}

/// The kinds of [`WorkerError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkerErrorKind {
    /// An exception reached the top.
    Raised,
    /// A capability refusal reached the top.
    Denied,
    /// The returned value cannot be written as JSON.
    Output,
    /// A `MemoryError` reached the top.
    Memory,
    /// `SystemExit` reached the top.
    Exited,
}

/// A frame that is not one of the messages above.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// Not JSON, nested too deep, or with members that no message has.
    #[error("a frame is not a message ({})", place(.0))]
    Shape(serde_json::Error),
    /// The members do not add up to one message.
    #[error("a frame has members that do not belong together")]
    Members,
    /// A result or error for something other than the execution.
    #[error("an end for execution {0}, which was never begun")]
    UnknownExecution(u64),
    /// The parameters of a known notification do not fit it.
    #[error("the parameters of `{method}` do not fit ({})", place(.error))]
    Parameters {
        /// The notification.
        method: &'static str,
        /// What does not fit.
        error: serde_json::Error,
    },
    /// A notification that does not exist.
    #[error("an unknown notification")]
    UnknownNotification,
}

/// What kind of error it is, and where. The error's own text may repeat the
/// name of an unknown member, which is up to a frame long and the worker's.
fn place(error: &serde_json::Error) -> String {
    use serde_json::error::Category;
    let kind = match error.classify() {
        Category::Io | Category::Eof => "it ends early",
        Category::Syntax => "it is not JSON",
        Category::Data => "it has other members or types",
    };
    format!("{kind}, line {}, column {}", error.line(), error.column())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    #[serde(default)]
    id: Option<u64>,
    #[serde(default)]
    method: Option<String>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// Keeps `"result": null` apart from an absent `result`; an `Option` alone
/// reads both as `None`.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(from: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogParameters {
    level: LogLevel,
    message: String,
    #[serde(default)]
    fields: Map<String, Value>,
}

impl FromWorker {
    /// Parses the body of one frame.
    ///
    /// # Errors
    ///
    /// [`MessageError`] for everything that is not one of the messages.
    pub fn parse(body: &[u8]) -> Result<Self, MessageError> {
        let wire: Wire<'_> = serde_json::from_slice(body).map_err(MessageError::Shape)?;
        match wire {
            Wire {
                id: Some(id),
                method: None,
                params: None,
                result: Some(result),
                error: None,
            } => {
                execution(id)?;
                Ok(Self::Returned(result.get().to_owned()))
            }
            Wire {
                id: Some(id),
                method: None,
                params: None,
                result: None,
                error: Some(error),
            } => {
                execution(id)?;
                let error = serde_json::from_str(error.get()).map_err(|error| {
                    MessageError::Parameters {
                        method: "error",
                        error,
                    }
                })?;
                Ok(Self::Failed(error))
            }
            Wire {
                id: Some(id),
                method: Some(method),
                params,
                result: None,
                error: None,
            } => {
                let params = params.map_or("null", RawValue::get).to_owned();
                Ok(Self::Call { id, method, params })
            }
            Wire {
                id: None,
                method: Some(method),
                params,
                result: None,
                error: None,
            } => notification(&method, params),
            _ => Err(MessageError::Members),
        }
    }
}

fn notification(method: &str, params: Option<&RawValue>) -> Result<FromWorker, MessageError> {
    match (method, params) {
        ("ready", _) => Ok(FromWorker::Ready),
        ("log", Some(params)) if params.get().len() > LOG_LIMIT => Ok(FromWorker::LogTooLong),
        ("log", Some(params)) => {
            let LogParameters {
                level,
                message,
                fields,
            } = serde_json::from_str(params.get()).map_err(|error| MessageError::Parameters {
                method: "log",
                error,
            })?;
            Ok(FromWorker::Log {
                level,
                message,
                fields,
            })
        }
        ("log", None) => Err(MessageError::Members),
        _ => Err(MessageError::UnknownNotification),
    }
}

fn execution(id: u64) -> Result<(), MessageError> {
    if id == EXECUTION {
        Ok(())
    } else {
        Err(MessageError::UnknownExecution(id))
    }
}

#[cfg(test)]
mod tests;
