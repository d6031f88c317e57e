//! A failure as the outside sees it: one code, one sentence, details; and a note for the log alone.
//!
//! The two audiences are kept apart by type. `message` and `details` go to callers, so whoever
//! fills them must not put in paths of the host, values of secrets or traces. `internal` never
//! leaves the process: it is skipped by serialisation and by `Display`.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::error_code::ErrorCode;
use crate::violation::Violation;

/// How many violations one failure lists. The first is what people mend; the rest is context.
const LISTED_VIOLATIONS: usize = 20;

/// The finer cause of a code, in the closed set that `details.reason` may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The controller raised an exception (E3003).
    Raised,
    /// The controller ended its process (E3003).
    Exited,
    /// A signal ended the controller's process (E3003).
    Signal,
    /// The worker broke the protocol of its channel (E3003).
    Protocol,
    /// A back end failed (E3003).
    Backend,
    /// The runtime failed (E3003).
    Internal,
    /// The connection was lost during COMMIT, so nobody knows whether it took place (E3003).
    CommitUnknown,
    /// The controller's queue is full, or waiting in it took too long (E3005).
    Queue,
    /// A rate limit was reached (E3005).
    Rate,
    /// The runtime is shutting down (E3005).
    Draining,
    /// The runtime's own store failed (E4005).
    Store,
    /// The new version could not be brought into service (E4005).
    Rollout,
    /// The HTTP layer does not know the method (E1004).
    Method,
    /// The body has a type or an encoding that is not accepted (E1004).
    MediaType,
    /// The body, or the head of the request, is too large (E1004).
    TooLarge,
    /// The request did not arrive in time (E1004).
    Slow,
    /// The body is not one JSON document (E1004).
    Json,
    /// There is no such route (E4004).
    Route,
}

impl Reason {
    /// Every reason, for documentation and tests.
    pub const ALL: &'static [Self] = &[
        Self::Raised,
        Self::Exited,
        Self::Signal,
        Self::Protocol,
        Self::Backend,
        Self::Internal,
        Self::CommitUnknown,
        Self::Queue,
        Self::Rate,
        Self::Draining,
        Self::Store,
        Self::Rollout,
        Self::Method,
        Self::MediaType,
        Self::TooLarge,
        Self::Slow,
        Self::Json,
        Self::Route,
    ];

    /// The spelling used in `details.reason`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Exited => "exited",
            Self::Signal => "signal",
            Self::Protocol => "protocol",
            Self::Backend => "backend",
            Self::Internal => "internal",
            Self::CommitUnknown => "commit_unknown",
            Self::Queue => "queue",
            Self::Rate => "rate",
            Self::Draining => "draining",
            Self::Store => "store",
            Self::Rollout => "rollout",
            Self::Method => "method",
            Self::MediaType => "media_type",
            Self::TooLarge => "too_large",
            Self::Slow => "slow",
            Self::Json => "json",
            Self::Route => "route",
        }
    }
}

/// One failure, ready to be put into an error body.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Failure {
    /// The code that programs look at.
    pub code: ErrorCode,
    /// One sentence for the caller.
    pub message: String,
    /// Machine-readable facts for the caller.
    pub details: Map<String, Value>,
    /// Facts for the operator's log. Never serialised. (Boxed so that a failure stays small enough to
    /// be returned as an error without a second thought.)
    #[serde(skip)]
    pub internal: Option<Box<str>>,
}

impl Failure {
    /// A failure without details.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: Map::new(),
            internal: None,
        }
    }

    /// Adds one fact to `details`, replacing an earlier fact of that name.
    #[must_use]
    pub fn with_detail(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.details.insert(key.into(), value.into());
        self
    }

    /// Sets `details.reason`.
    #[must_use]
    pub fn with_reason(self, reason: Reason) -> Self {
        self.with_detail("reason", reason.as_str())
    }

    /// Keeps a note for the log.
    #[must_use]
    pub fn with_internal(mut self, text: impl Into<String>) -> Self {
        self.internal = Some(text.into().into_boxed_str());
        self
    }

    /// The value of `details.reason`, if it was set.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.details.get("reason").and_then(Value::as_str)
    }

    /// Turns the violations of one value into a failure: the first in full, all (at most twenty) in
    /// `details.violations`.
    #[must_use]
    pub fn from_violations(code: ErrorCode, violations: &[Violation]) -> Self {
        let Some(first) = violations.first() else {
            return Self::new(code, code.meaning());
        };
        let listed: Vec<Value> = violations
            .iter()
            .take(LISTED_VIOLATIONS)
            .map(Violation::to_json)
            .collect();
        Self::new(code, format!("{}: {}", code.meaning(), first.message))
            .with_detail("field", first.field.clone())
            .with_detail("constraint", first.constraint.clone())
            .with_detail("expected", first.expected.clone())
            .with_detail("received", first.received.clone())
            .with_detail("violations", listed)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    /// The note for the log must not reach a caller by any of the two ways out.
    #[test]
    fn the_internal_note_stays_inside() {
        let failure = Failure::new(ErrorCode::ControllerFailed, "the controller failed")
            .with_reason(Reason::Internal)
            .with_internal("/var/lib/secret");
        let text = serde_json::to_string(&failure).unwrap();
        assert!(!text.contains("secret"), "{text}");
        assert!(!failure.to_string().contains("secret"));
        assert_eq!(failure.reason(), Some("internal"));
    }

    /// Reasons are unique words.
    #[test]
    fn reasons_are_distinct() {
        let mut words: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Reason::ALL.len());
    }
}
