//! The jail.

/// The private first argument.
pub(crate) const ARGUMENT: &str = "__jail";

/// Runs the jail and never returns, if this process was started as one; else does nothing.
pub fn enter_if_asked() {}
