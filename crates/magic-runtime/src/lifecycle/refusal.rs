//! What the state says, as the catalogue has it.

use super::Lifecycle;
use magic_contract::{ErrorCode, Failure, Reason};
use magic_store::Record;
use magic_store::state::{BundleError, DeploymentError, Event, StateError, WheelError};
use serde_json::json;

/// There is no state at all.
pub(crate) fn no_state() -> Failure {
    Failure::new(
        ErrorCode::DeploymentFailed,
        "this runtime keeps no state; deploy to one that `magic serve` or `magic dev` runs",
    )
    .with_reason(Reason::Store)
}

const AWAY: &str = "the runtime's state is not available, so nothing can be changed now; what is deployed is served on, and this can be tried again";

/// The state has been away for a while.
pub(super) fn away(since: jiff::Timestamp) -> Failure {
    Failure::new(ErrorCode::DeploymentFailed, AWAY)
        .with_reason(Reason::Store)
        .with_detail("retriable", json!(true))
        .with_detail("since", since.to_string())
}

/// The state failed.
pub(crate) fn of_state(error: &StateError) -> Failure {
    let message = match error {
        StateError::Unavailable { .. } => AWAY,
        StateError::Uncertain { .. } => {
            "the runtime's state was lost during the commit; `magic versions` shows whether the change took place, and asking for it again is safe"
        }
        _ => "the runtime's state could not be changed; its log says why",
    };
    let retriable = matches!(
        error,
        StateError::Unavailable { .. } | StateError::Uncertain { .. }
    );
    Failure::new(ErrorCode::DeploymentFailed, message)
        .with_reason(Reason::Store)
        .with_detail("retriable", json!(retriable))
        .with_internal(error.to_string())
}

/// What this node wrote last cannot be read yet, because the state does not take it.
pub(crate) fn behind() -> Failure {
    Failure::new(
        ErrorCode::DeploymentFailed,
        "the runtime's state is not available, so what it keeps cannot be read now; this can be tried again",
    )
    .with_reason(Reason::Store)
    .with_detail("retriable", json!(true))
}

/// A bundle cannot be had.
pub(super) fn of_bundle(error: &BundleError) -> Failure {
    match error {
        BundleError::State(error) => of_state(error),
        _ => Failure::new(
            ErrorCode::DeploymentFailed,
            "the files of this version cannot be read from the runtime's state; its log says why",
        )
        .with_reason(Reason::Store)
        .with_internal(error.to_string()),
    }
}

/// A wheel cannot be kept or had.
pub(crate) fn of_wheel(error: &WheelError) -> Failure {
    match error {
        WheelError::State(error) => of_state(error),
        _ => Failure::new(
            ErrorCode::DeploymentFailed,
            "the wheels of this version could not be brought into or out of the runtime's state; its log says why",
        )
        .with_reason(Reason::Store)
        .with_internal(error.to_string()),
    }
}

/// An operation was refused, or failed.
pub(super) fn of_deployment(error: &DeploymentError) -> Failure {
    match error {
        DeploymentError::State(error) => of_state(error),
        DeploymentError::NoSuchController { there, .. } => {
            Failure::new(ErrorCode::UnknownController, error.to_string())
                .with_detail("controllers", json!(there))
        }
        DeploymentError::NoSuchVersion { there, .. } => {
            Failure::new(ErrorCode::UnknownController, error.to_string())
                .with_detail("deployed", json!(there))
        }
        DeploymentError::Overtaken { active, by, .. } => {
            overtaken(error, active.as_deref(), by.as_deref())
        }
        DeploymentError::VersionConflict { .. }
        | DeploymentError::InvalidShare
        | DeploymentError::CannotMove { .. } => {
            Failure::new(ErrorCode::VersionConflict, error.to_string())
        }
        _ => Failure::new(
            ErrorCode::DeploymentFailed,
            "the change could not be made; the log says why",
        )
        .with_reason(Reason::Store)
        .with_internal(error.to_string()),
    }
}

/// Somebody else was faster, on this node or another. It may be asked for again,
/// which decides on what they made of it.
fn overtaken(error: &DeploymentError, active: Option<&str>, by: Option<&Event>) -> Failure {
    let failure = Failure::new(ErrorCode::VersionConflict, error.to_string())
        .with_detail("retriable", json!(true))
        .with_detail("active", json!(active));
    match by {
        Some(event) => failure.with_detail(
            "overtaken_by",
            json!({
                "event": event.kind.name(),
                "version": event.version,
                "by": event.by,
            }),
        ),
        None => failure,
    }
}

/// Whether a failure is that somebody else was faster.
pub(super) fn is_overtaken(failure: &Failure) -> bool {
    failure.code == ErrorCode::VersionConflict && failure.details.contains_key("overtaken_by")
}

/// The state has a change; whether this node serves it.
///
/// # Errors
///
/// E4005 with `deployed`, when the other nodes may serve what this one cannot.
pub(super) fn unless_served(
    lifecycle: &Lifecycle,
    name: &str,
    followed: Result<(), StateError>,
) -> Result<(), Failure> {
    if let Err(error) = followed {
        return Err(not_served(
            "the change is made, and this node follows it as soon as it can read the runtime's state again",
        )
        .with_internal(error.to_string()));
    }
    match lifecycle.trouble_of(name) {
        Some(why) => Err(not_served(format!(
            "the change is made, but this node cannot follow it and serves {name} as before: {why}"
        ))),
        None => Ok(()),
    }
}

fn not_served(message: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::DeploymentFailed, message)
        .with_reason(Reason::Rollout)
        .with_detail("deployed", json!(true))
}

/// The record of a change that was announced and then refused.
pub(super) fn recorded(record: Record, failure: &Failure) -> Record {
    record
        .with_field("changed", false)
        .with_field("refused", failure.code.as_str())
        .with_field("message", failure.message.clone())
}
