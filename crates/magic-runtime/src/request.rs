//! What goes into an invocation and what comes out of it.

use bytes::Bytes;
use magic_broker::{Effect, TraceContext};
use magic_contract::Failure;
use serde_json::Value;
use std::time::Duration;

/// Who asks. Made by whoever authenticated them; passed on to the controller
/// as information and never used by the runtime to decide.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Caller {
    /// A stable name of the caller.
    pub subject: String,
    /// The roles that authentication gave them.
    pub roles: Vec<String>,
}

impl Caller {
    /// The caller of a runtime that asks nobody for credentials.
    pub fn anonymous() -> Self {
        Self {
            subject: "anonymous".to_owned(),
            roles: Vec::new(),
        }
    }
}

/// One request to run a controller.
#[derive(Debug, Clone)]
pub struct Request {
    /// Identifier that logs, answers and errors carry.
    pub request_id: String,
    /// Name of the controller as the client wrote it.
    pub controller: String,
    /// A version that the client insists on.
    pub version: Option<String>,
    /// The body: JSON text, not yet read.
    pub body: Bytes,
    /// Who asks.
    pub caller: Caller,
    /// The client's name for this request: asked again under the same name with the same input, the
    /// stored answer comes back and nothing is done twice.
    pub idempotency_key: Option<IdempotencyKey>,
    /// The trace that it belongs to, if the client says so.
    pub trace: Option<TraceContext>,
    /// The message that started it, if it was not a client.
    pub started_by: Option<StartedBy>,
}

/// The message that started a request. It is serialised for the record.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct StartedBy {
    /// The queue, as records call it.
    pub queue: String,
    /// The message's identity.
    pub message: String,
    /// Which delivery of the message it is, from 1.
    pub attempt: u32,
    /// Its acknowledgement, which takes effect with everything else.
    #[serde(skip)]
    pub acknowledges: Effect,
}

/// A client's name for a request: 1 to 255 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The rule, in words.
    pub const RULE: &'static str = "1 to 255 visible ASCII characters without spaces";

    /// Reads a key; `None` if the text breaks the rule.
    pub fn parse(text: &str) -> Option<Self> {
        let accepted =
            (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        accepted.then(|| Self(text.to_owned()))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A successful invocation.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The output, valid under the contract's output schema.
    pub result: Value,
    /// The identifier of the request.
    pub request_id: String,
    /// From the arrival of the request at the runtime to its outcome.
    pub duration: Duration,
    /// The controller's name.
    pub controller: String,
    /// The version that ran.
    pub version: String,
    /// Whether this is the stored answer to an earlier request of the same name.
    pub replayed: bool,
}

/// An invocation that ended in a documented error.
#[derive(Debug, Clone)]
pub struct Failed {
    /// The error for the caller.
    pub failure: Failure,
    /// When trying again makes sense, for errors of capacity.
    pub retry_after: Option<Duration>,
    /// From the arrival of the request at the runtime to its outcome.
    pub duration: Duration,
    /// The controller's name, when one was found.
    pub controller: Option<String>,
    /// The version, when one was found.
    pub version: Option<String>,
}
