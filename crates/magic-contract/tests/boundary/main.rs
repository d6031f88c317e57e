//! Tests of the crate from outside, in one binary: broken contracts as people see them, the official
//! suite of JSON Schema, and hostile text.

mod broken_contracts;
mod hostile;
mod official_suite;
