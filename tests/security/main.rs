//! Hostile controllers against the real binary on the real kernel.
//!
//! Every attack is a small Python function in `probes/`. It is first run outside the sandbox, where it
//! must succeed, or it would prove nothing; then inside, as a controller over HTTP, where it must be
//! refused in the way that the table says. One function checks all tables, see [`probe`].
//!
//! The suite runs as root, because outside it needs rights to be refused.

#[path = "../support/support.rs"]
mod support;

mod files;
mod fork_state;
mod host;
mod imports;
mod interpreter;
mod kernel_views;
mod layers;
mod neighbours;
mod probe;
mod protocol;
mod resources;
mod supervisor;
mod system_calls;
