//! The `magic` command.
//!
//! The order of the first lines matters. The same binary is also the jail: the supervisor re-executes it with a private first
//! argument, and that process must build its sandbox before anything starts a thread, reads the environment or parses an
//! argument. So that question comes first, and an attribute that starts a runtime around `main` is out of the question.
//!
//! Exit status: 0 done, 1 refused or invalid, 2 bad usage or our fault.

mod access;
mod activation;
mod cli;
mod client;
mod commands;
mod controller_folder;
mod deployer;
mod finding;
mod handover;
mod key_set_source;
mod listening;
mod logging;
mod output;
mod policy_watch;
mod python_check;
mod runtime_start;
mod sample;
mod server_events;
mod service_manager;
mod services;
mod serving;
mod settings;
mod signals;
mod terminal;
mod tracing_export;
mod watch;

use std::process::ExitCode;

fn main() -> ExitCode {
    magic_sandbox::enter_if_asked();
    cli::run()
}
