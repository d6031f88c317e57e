//! From what a controller does to what its caller is answered.
//!
//! Everything runs through the real binary over HTTP, on the real kernel.

#[path = "../support/support.rs"]
mod support;

mod mixture;
mod table;
