//! From evidence to outcome: the pure decision about how a request ended.
//!
//! The supervisor is not the parent of a worker, and a worker may say
//! anything. So the order below is the order of trust: the supervisor's own
//! timer, then the kernel's counters and exit information, then what came over
//! the channel.

use magic_broker::{End, WorkerError, WorkerErrorKind};
use magic_contract::{Category, ErrorCode, Failure, Reason};
use magic_sandbox::Ended;
use serde_json::{Value, json};
use std::time::Duration;

/// What the supervisor knows when a session is over.
#[derive(Debug)]
pub(crate) struct Evidence {
    /// How the session ended; `None` when the deadline came first.
    pub(crate) end: Option<End>,
    /// Processes that the kernel killed in the worker's group for memory.
    pub(crate) memory_kills: u64,
    /// How the worker's process ended, if the kernel told.
    pub(crate) exit: Option<Ended>,
    /// Whether the worker was still alive after its channel had closed.
    pub(crate) outlived_channel: bool,
    /// The contract's limits, for the message.
    pub(crate) timeout: Duration,
    /// The contract's memory limit in bytes, for the message.
    pub(crate) memory_bytes: u64,
}

/// The JSON text of what a controller returned, not yet read or validated.
#[derive(Debug, PartialEq)]
pub(crate) struct Returned(pub(crate) String);

/// Decides how the request ended: a value that is yet to be validated, or the
/// error to answer.
pub(crate) fn decide(evidence: Evidence) -> Result<Returned, Failure> {
    let Some(end) = evidence.end else {
        return Err(timeout(evidence.timeout));
    };
    match end {
        End::Returned(text) => Ok(Returned(text)),
        _ if evidence.memory_kills > 0 => Err(memory(evidence.memory_bytes)),
        End::Failed { error, refusal } => Err(failed(error, refusal, evidence.memory_bytes)),
        End::Protocol(breach) => Err(protocol(&breach)),
        End::Closed => Err(closed(evidence.exit, evidence.outlived_channel)),
    }
}

fn timeout(limit: Duration) -> Failure {
    let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    Failure::new(
        ErrorCode::Timeout,
        format!("the controller did not answer within {limit_ms} ms"),
    )
    .with_detail("limit_ms", json!(limit_ms))
    .with_detail("contract", json!("resources.timeout"))
}

fn memory(limit: u64) -> Failure {
    Failure::new(
        ErrorCode::MemoryExceeded,
        format!(
            "the controller needed more than {} MiB",
            limit / (1024 * 1024)
        ),
    )
    .with_detail("limit_bytes", json!(limit))
    .with_detail("contract", json!("resources.memory"))
}

fn protocol(breach: &str) -> Failure {
    Failure::new(
        ErrorCode::ControllerFailed,
        "the controller's process broke the runtime's protocol",
    )
    .with_reason(Reason::Protocol)
    .with_internal(breach)
}

fn closed(exit: Option<Ended>, outlived_channel: bool) -> Failure {
    if outlived_channel {
        return protocol("the worker closed its channel and went on running");
    }
    match exit {
        Some(Ended::Signaled(libc::SIGSYS)) => Failure::new(
            ErrorCode::SandboxViolation,
            "the kernel stopped the controller at a system call that the sandbox forbids",
        )
        .with_detail("layer", "kernel"),
        Some(Ended::Signaled(signal)) => Failure::new(
            ErrorCode::ControllerFailed,
            format!(
                "the controller's process died of signal {}",
                signal_name(signal)
            ),
        )
        .with_reason(Reason::Signal)
        .with_detail("signal", json!(signal_name(signal))),
        Some(Ended::Exited(status)) => Failure::new(
            ErrorCode::ControllerFailed,
            format!("the controller's process exited with status {status} before it answered"),
        )
        .with_reason(Reason::Exited)
        .with_detail("status", json!(status)),
        None => Failure::new(
            ErrorCode::ControllerFailed,
            "the controller's process ended before it answered",
        )
        .with_reason(Reason::Exited),
    }
}

fn failed(error: WorkerError, refusal: Option<Box<Failure>>, memory_bytes: u64) -> Failure {
    match error.kind {
        WorkerErrorKind::Memory => memory(memory_bytes),
        WorkerErrorKind::Output => {
            Failure::new(ErrorCode::InvalidOutput, cut(error.message, MESSAGE_BYTES))
                .with_detail(
                    "field",
                    json!(cut(error.path.unwrap_or_default(), NAME_BYTES)),
                )
                .with_detail("constraint", json!("json"))
        }
        WorkerErrorKind::Exited => {
            let status = error.status.unwrap_or(0);
            Failure::new(
                ErrorCode::ControllerFailed,
                format!(
                    "the controller raised SystemExit with status {status} instead of returning"
                ),
            )
            .with_reason(Reason::Exited)
            .with_detail("status", json!(status))
        }
        // A failure that this session did not give is only a claim.
        WorkerErrorKind::Denied | WorkerErrorKind::Raised => match refusal {
            Some(refusal) if is_of_that_kind(&refusal, error.kind) => *refusal,
            _ => raised(error),
        },
    }
}

/// Whether an uncaught error of that kind may be answered with a failure of the
/// session: denials with refusals, and what else is raised with failures of a
/// back end. An author's own error that carries the code of a refusal is raised.
fn is_of_that_kind(failure: &Failure, kind: WorkerErrorKind) -> bool {
    let refusal = failure.code.category() == Category::Capability;
    refusal == (kind == WorkerErrorKind::Denied)
}

/// The longest texts of an error that are kept, in bytes. Our own runner cuts
/// them shorter; a frame that it did not write may hold megabytes, which would
/// go to the client and into the supervisor's log.
const MESSAGE_BYTES: usize = 16 * 1024;
const TRACEBACK_BYTES: usize = 64 * 1024;
const NAME_BYTES: usize = 512;

fn cut(mut text: String, limit: usize) -> String {
    text.truncate(text.floor_char_boundary(limit));
    text
}

fn raised(error: WorkerError) -> Failure {
    let exception = error.exception.map_or_else(
        || "an exception".to_owned(),
        |exception| cut(exception, NAME_BYTES),
    );
    let message = if error.message.is_empty() {
        format!("the controller raised {exception}")
    } else {
        let message = cut(error.message, MESSAGE_BYTES);
        format!("the controller raised {exception}: {message}")
    };
    let mut failure = Failure::new(ErrorCode::ControllerFailed, message)
        .with_reason(Reason::Raised)
        .with_detail("exception", json!(exception))
        .with_detail("retriable", json!(error.retriable));
    if let Some(code) = error.code {
        failure = failure.with_detail("controller_code", json!(cut(code, NAME_BYTES)));
    }
    if let Some(details) = error.details {
        failure = failure.with_detail("controller_details", Value::Object(details));
    }
    if let Some(traceback) = error.traceback {
        failure = failure.with_detail("traceback", json!(cut(traceback, TRACEBACK_BYTES)));
    }
    failure
}

/// The name of a signal, or its number where it has none.
fn signal_name(signal: i32) -> String {
    nix::sys::signal::Signal::try_from(signal)
        .map_or_else(|_| signal.to_string(), |signal| signal.to_string())
}

#[cfg(test)]
mod tests;
