//! What the tests that drive the real binary share.

#![allow(dead_code, reason = "each test binary uses another part")]
#![allow(
    clippy::print_stderr,
    reason = "what a server says belongs to the output of a failed test"
)]

pub(crate) mod command;
pub(crate) mod hosts;
pub(crate) mod namespace;
pub(crate) mod postgres;
pub(crate) mod redis;
pub(crate) mod server;
pub(crate) mod tls;
pub(crate) mod traces;
