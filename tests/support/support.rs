//! What the tests that drive the real binary share.

#![allow(dead_code, reason = "each test binary uses another part")]

pub(crate) mod server;
pub(crate) mod traces;
