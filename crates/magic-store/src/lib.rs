//! The runtime's own state.
//!
//! The *run logs* are what controllers wrote while they ran. They are kept in memory, in a bounded number of bytes, because
//! they help a person who is looking now; they are not a record that anybody may rely on later. Nothing there waits for a
//! reader: a writer that would exceed a bound drops the oldest lines, counts them, and goes on, so that a stopped log consumer
//! can never slow a request down. They have no background task and read no clock: whoever appends a line says when it was
//! written.
//!
//! The *audit log* is the opposite in everything: a record that was acknowledged is on stable storage, is never dropped, and
//! can be verified by somebody else years later. See [`AuditLog`].
//!
//! The *state* is what must be the same after a restart and on every node: bundles, versions and deployments, keys, what
//! nodes say of themselves, executions and shipped log lines, in SQLite or PostgreSQL. See [`state`].
//!
//! This crate knows nothing of contracts, sandboxes or HTTP.

mod audit;
mod backlog;
mod run_logs;
pub mod state;

pub use audit::{
    AUDIT_CSV_HEADER, AuditFailed, AuditFilter, AuditHeadError, AuditKeyError, AuditLog,
    AuditOpenError, AuditOptions, AuditOrder, AuditPlaces, AuditPublicKey, AuditReadError,
    AuditReader, AuditVerifyError, Decision, FirstBad, Kind, Record, Recovered, Rule, ShownHead,
    StoredRecord, Ticket, UnknownDecision, UnknownKind, Verified, audit_csv_row, create_directory,
    verify_audit, verify_audit_against,
};
pub use backlog::Backlog;
pub use run_logs::{
    Followed, Level, LogLine, LogStatistics, RunLogLimits, RunLogs, Stream, Subscription,
};
