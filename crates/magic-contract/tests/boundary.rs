//! Tests of the crate from outside, in one binary: broken contracts as people see them, the official
//! suite of JSON Schema, and hostile text.

#[path = "boundary/broken_contracts.rs"]
mod broken_contracts;
#[path = "boundary/hostile.rs"]
mod hostile;
#[path = "boundary/official_suite.rs"]
mod official_suite;
