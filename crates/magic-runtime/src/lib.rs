//! One invocation from input to outcome; one folder from upload to service.
//!
//! The crate joins what the crates below it keep apart: the contract decides,
//! the sandbox confines, the broker talks to the worker, the store keeps what
//! is said. `invoke` is the path of a request and `deploy` that of a version;
//! both read from top to bottom. A *template* is a confined interpreter with
//! the controller imported, a *worker* a fork of it that serves one request,
//! the *stock* the workers that are ready before anybody asks.
//!
//! Nothing here knows HTTP, and nothing here trusts a process of a sandbox:
//! outcomes are decided in `outcome` from the supervisor's own evidence.

mod admission;
mod bundle;
mod canary;
mod capture;
mod cleanup;
mod closing;
mod confinement;
mod control;
mod deploy;
mod deployment;
mod execution;
mod folder;
mod history;
mod idempotency;
mod interpreter;
mod invoke;
mod launcher;
mod leaves;
mod levels;
mod lifecycle;
mod load_failure;
mod logged;
mod meters;
pub mod metrics;
mod options;
mod outcome;
mod packages;
mod policies;
mod process;
mod registry;
mod request;
mod runtime;
mod sdk;
mod self_test;
mod services;
mod sinks;
mod socket;
mod stock;
mod summary;
mod surroundings;
mod template;
mod traces;
mod triggers;
mod version;
mod watched;
mod worker;

pub use bundle::{Bundle, Lease, is_contract};
pub use control::{Entry, EntryKind};
pub use deploy::{Deployed, Inspection};
pub use history::{AuditHead, KeptLogLine, KeptLogs, NodeSummary, Retention};
pub use interpreter::{Interpreter, InterpreterError};
pub use lifecycle::{
    Actor, DeployOrder, EventSummary, Moved, Share, Step, VersionSummary, Versions,
};
pub use magic_broker::{SpanCounts, SpanEnd, SpanSink, TraceContext};
pub use options::{RuntimeLimits, RuntimeOptions};
pub use packages::{CLibrary, WheelSupport};
pub use policies::{PolicyChange, RefusedVersion};
pub use request::{Answer, Caller, Failed, IdempotencyKey, Request, StartedBy};
pub use runtime::{Runtime, StartError};
pub use sdk::SdkError;
pub use self_test::{Attempt, LayerState, SelfTest};
pub use services::Services;
pub use summary::{
    CanarySummary, ControllerDetail, ControllerInterface, ControllerSummary, Readiness, Unserved,
};
pub use traces::{ERROR_TYPE, REQUEST_ID, log_span};
