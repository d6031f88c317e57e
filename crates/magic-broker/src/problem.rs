//! The ways in which a capability says no, each with its one code.
//!
//! Refusals by contract and policy are made by the grant. What is here is the
//! rest: parameters that mean nothing, budgets that are used up, back ends that
//! fail. Messages are for the author of the controller and say what to write;
//! texts of a back end go into the internal note unless the back end's words
//! are the author's own business (a constraint that a row breaks).

use crate::capability::Method;
use magic_contract::{ErrorCode, Failure, Reason};
use serde::Deserialize;
use serde_json::json;

/// The call makes no sense as it stands; trying again changes nothing.
pub(crate) fn misuse(message: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::ControllerFailed, message)
        .with_reason(Reason::Backend)
        .with_detail("retriable", json!(false))
}

/// A back end failed. `retriable` says whether the same request may succeed
/// later; `internal` is for the operator's log alone.
pub(crate) fn backend(
    message: impl Into<String>,
    retriable: bool,
    internal: impl Into<String>,
) -> Failure {
    Failure::new(ErrorCode::ControllerFailed, message)
        .with_reason(Reason::Backend)
        .with_detail("retriable", json!(retriable))
        .with_internal(internal)
}

/// The controller has answered while calls were running that its commit depends on.
pub(crate) fn unfinished() -> Failure {
    Failure::new(
        ErrorCode::ControllerFailed,
        "the controller answered while a call of its own was still running, so nothing of the request is kept; await every call",
    )
    .with_reason(Reason::Protocol)
    .with_detail("retriable", json!(false))
}

/// A budget is used up: `calls`, `rows`, `bytes`, `time` and so on, and the
/// line of the contract or of the call that would raise or spare it.
pub(crate) fn exhausted(budget: &'static str, message: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::BudgetExceeded, message)
        .with_detail("layer", "budget")
        .with_detail("rule", budget)
        .with_detail("budget", budget)
}

/// The target can never be allowed, whatever contract and policy list.
pub(crate) fn outside(message: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::TargetNotAllowed, message).with_detail("layer", "runtime")
}

/// Reads the parameters of a call. Their type says `deny_unknown_fields`.
///
/// # Errors
///
/// [`misuse`], which names the place and never repeats a value.
pub(crate) fn parameters<'de, T: Deserialize<'de>>(
    method: Method,
    text: &'de str,
) -> Result<T, Failure> {
    // A list would be read as the members in their order, which is nobody's published interface.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(misuse(format!(
            "the parameters of {} are an object with their names",
            method.as_str()
        )));
    }
    serde_json::from_str(text).map_err(|error| {
        misuse(format!(
            "the parameters of {} do not fit, at column {} of their JSON",
            method.as_str(),
            error.column()
        ))
        .with_internal(error.to_string())
    })
}
