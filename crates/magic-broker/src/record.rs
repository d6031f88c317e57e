//! What is recorded of a capability call, and where it goes.

use crate::capability::Method;
use crate::trace::SpanId;
use magic_contract::{CapabilityKind, Failure, RuleReference};
use serde_json::{Map, Value};
use std::pin::Pin;
use std::time::Duration;

/// Where the records of capability calls go.
pub trait AuditSink: Send + Sync {
    /// Takes one record. Must not block.
    fn record(&self, record: CallRecord<'_>);
    /// Takes the announcement of a call that cannot be taken back, and ends
    /// when it is durable.
    fn intend<'a>(&'a self, intent: Intent<'a>) -> Durable<'a>;
}

/// Ends when something is on stable storage, or will never be.
pub type Durable<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>;

/// A call that is about to do something that cannot be taken back.
#[derive(Debug)]
pub struct Intent<'a> {
    /// The number of the call within its session.
    pub call: u64,
    /// The method.
    pub method: Method,
    /// What is known so far.
    pub facts: &'a Map<String, Value>,
    /// The hash of the policy that allowed it.
    pub policy_hash: &'a str,
}

/// One capability call and what became of it. Every call that is read has
/// exactly one, whatever happens to it afterwards.
#[derive(Debug)]
pub struct CallRecord<'a> {
    /// The number of the call within its session.
    pub call: u64,
    /// The method's name as sent; untrusted and at most 64 bytes of it.
    pub method: &'a str,
    /// The capability the method needs; `None` for a method that does not exist.
    pub capability: Option<CapabilityKind>,
    /// How it ended.
    pub ending: Ending<'a>,
    /// What the capability noted about it.
    pub facts: &'a Map<String, Value>,
    /// The hash of the policy that judged.
    pub policy_hash: &'a str,
    /// The rule that allowed; `None` for what was never judged.
    pub rule: Option<&'a RuleReference>,
    /// The rules in report mode that would have denied.
    pub would_deny: &'a [RuleReference],
    /// From reading the call to its end.
    pub duration: Duration,
    /// The number of its span; `None` where none are recorded, and for what was refused before it began.
    pub span: Option<SpanId>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy)]
pub enum Ending<'a> {
    /// It was performed.
    Performed,
    /// It was refused (E2xxx), or allowed and failed behind the supervisor.
    Failed(&'a Failure),
    /// The request ended first. Whether the call took effect follows from its
    /// kind: what waits for the commit did not, an HTTP request may have.
    Unfinished,
}

impl Ending<'_> {
    /// Whether contract, policy or a budget refused the call.
    pub fn is_denial(&self) -> bool {
        use magic_contract::Category;
        matches!(self, Self::Failed(failure) if failure.code.category() == Category::Capability)
    }
}
