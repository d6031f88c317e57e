//! The runtime's own state.
//!
//! So far that is one thing: the *run logs*, what controllers wrote while they ran. They are kept in memory, in a bounded
//! number of bytes, because they help a person who is looking now; they are not a record that anybody may rely on later.
//! Nothing here waits for a reader: a writer that would exceed a bound drops the oldest lines, counts them, and goes on, so
//! that a stopped log consumer can never slow a request down.
//!
//! This crate knows nothing of contracts, sandboxes or HTTP. It has no background task and reads no clock: whoever appends
//! a line says when it was written.

mod run_logs;

pub use run_logs::{
    Followed, Level, LogLine, LogStatistics, RunLogLimits, RunLogs, Stream, Subscription,
};
