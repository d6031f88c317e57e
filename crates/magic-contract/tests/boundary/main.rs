//! Tests of the crate from outside, in one binary: broken contracts as people see them, the official
//! suite of JSON Schema, and hostile text.

#![expect(
    clippy::unwrap_used,
    reason = "a failed assumption of a test should end the test"
)]
#![expect(
    clippy::print_stdout,
    reason = "the pass rate of the official suite is printed"
)]

mod broken_contracts;
mod hostile;
mod official_suite;
mod policy_page;
