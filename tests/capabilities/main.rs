//! Capabilities through the real binary, over HTTP, with real databases, queues and servers behind it.

#[path = "../support/support.rs"]
mod support;

mod acting;
mod addresses;
mod audit;
mod consuming;
mod denials;
mod effects;
mod forged;
mod idempotency;
mod invoice_sync;
mod neighbours;
mod policy_reload;
mod records;
mod triggers;
mod world;
