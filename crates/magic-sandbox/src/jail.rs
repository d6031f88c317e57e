//! The process that builds the sandbox and becomes the program.
//!
//! It is this executable again, started with a private first argument, so that there is exactly one
//! thread, no lock held and no runtime: allocating, logging or touching the environment between fork
//! and exec in a threaded process is how deadlocks are made. No byte of the program runs before all
//! layers stand. The numbered procedure is in `docs/sandbox.md`; [`outer`] is its first half, still in
//! the host's namespaces, and [`inner`] is the rest, in the program's own process.

mod capabilities;
mod identity;
mod inner;
mod landlock;
mod limits;
mod loader;
mod namespaces;
mod outer;
mod root;

use crate::sys::descriptors::exit_now;

/// The private first argument.
pub(crate) const ARGUMENT: &str = "__jail";

/// Runs the jail and never returns, if this process was started as one; else does nothing.
///
/// Must be the first thing that `main` does: no thread may exist yet, and nothing may have read from
/// standard input, which is the socket to the supervisor.
pub fn enter_if_asked() {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == ARGUMENT)
    {
        exit_now(outer::run());
    }
}
