//! What to answer when a controller does not load: as a deploy, where the
//! author reads it, and as a request, where a caller does.

use crate::control::LoadFailure;
use crate::template::LaunchError;
use magic_contract::{ErrorCode, Failure, Reason};
use magic_sandbox::Ended;
use serde_json::json;

/// The answer to whoever deploys or validates.
pub(crate) fn at_deploy(error: &LaunchError) -> Failure {
    match error {
        LaunchError::Load(failure) => {
            let mut answer = Failure::new(ErrorCode::DoesNotLoad, said(failure))
                .with_detail("kind", json!(failure.kind));
            for (key, value) in [
                ("exception", &failure.exception),
                ("traceback", &failure.traceback),
                ("hint", &failure.hint),
            ] {
                if let Some(value) = value {
                    answer = answer.with_detail(key, json!(value));
                }
            }
            answer
        }
        LaunchError::Ended(exit) => {
            let how = match exit {
                Some(Ended::Exited(status)) => format!("exited with status {status}"),
                Some(Ended::Signaled(signal)) => format!("died of signal {signal}"),
                None => "ended".to_owned(),
            };
            Failure::new(
                ErrorCode::DoesNotLoad,
                format!("the process {how} while it imported the controller"),
            )
            .with_detail("kind", json!("ended"))
        }
        LaunchError::Memory | LaunchError::Timeout(_) => {
            Failure::new(ErrorCode::DoesNotLoad, error.to_string())
                .with_detail("kind", json!("budget"))
        }
        LaunchError::Changed(_) => Failure::new(
            ErrorCode::DeploymentFailed,
            "the kept files of this version were changed on disk",
        )
        .with_reason(Reason::Store)
        .with_internal(error.to_string()),
        LaunchError::Group(_)
        | LaunchError::Descriptors(_)
        | LaunchError::Spawn(_)
        | LaunchError::Order(_)
        | LaunchError::Cancelled => Failure::new(
            ErrorCode::DeploymentFailed,
            "the runtime could not start a sandbox",
        )
        .with_reason(Reason::Rollout)
        .with_internal(error.to_string()),
    }
}

/// What the import said; an exception may have no text, and then its name says more than nothing.
fn said(failure: &LoadFailure) -> String {
    if !failure.message.trim().is_empty() {
        return failure.message.clone();
    }
    match &failure.exception {
        Some(exception) => format!("the import raised {exception} without a message"),
        None => "the import failed without a message".to_owned(),
    }
}

/// The answer to a request whose controller was deployed and no longer loads.
pub(crate) fn at_request(error: &LaunchError) -> Failure {
    match error {
        LaunchError::Load(_)
        | LaunchError::Ended(_)
        | LaunchError::Memory
        | LaunchError::Timeout(_) => {
            Failure::new(ErrorCode::ControllerFailed, "the controller does not load")
                .with_reason(Reason::Raised)
                .with_internal(error.to_string())
        }
        LaunchError::Changed(_) => Failure::new(
            ErrorCode::ControllerFailed,
            "the kept files of this version were changed on disk; it is not run",
        )
        .with_reason(Reason::Internal)
        .with_internal(error.to_string()),
        _ => Failure::new(
            ErrorCode::ControllerFailed,
            "the runtime could not start a sandbox",
        )
        .with_reason(Reason::Internal)
        .with_detail("retriable", json!(true))
        .with_internal(error.to_string()),
    }
}
