//! An error for people: what failed, all its causes, and what to type.
//!
//! An error's own text names one step only, since its cause is a value of its own. Whoever prints a refusal
//! wants all of it, and would forget either the causes or the advice; so both are put together here.

use std::error::Error;

/// The error, its causes behind colons, and the advice as sentences of their own.
pub(crate) fn of(error: &dyn Error, advice: Option<String>) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    match advice {
        Some(advice) => format!("{text}. {advice}"),
        None => text,
    }
}
