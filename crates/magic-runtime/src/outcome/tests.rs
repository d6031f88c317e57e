//! The table from evidence to error code.

use super::{Evidence, decide};
use magic_broker::{End, FromWorker};
use magic_contract::ErrorCode;
use magic_sandbox::Ended;
use serde_json::{Value, json};
use std::time::Duration;

fn evidence(end: Option<End>) -> Evidence {
    Evidence {
        end,
        memory_kills: 0,
        exit: None,
        outlived_channel: false,
        timeout: Duration::from_secs(1),
        memory_bytes: 64 << 20,
    }
}

fn failed(error: &Value) -> End {
    let frame = json!({"id": 0, "error": error}).to_string();
    match FromWorker::parse(frame.as_bytes()) {
        Ok(FromWorker::Failed(error)) => End::Failed {
            error,
            refusal: None,
        },
        other => panic!("not an error frame: {other:?}"),
    }
}

fn code_and_reason(evidence: Evidence) -> (ErrorCode, Option<String>) {
    let failure = decide(evidence).expect_err("the evidence is of a failure");
    let reason = failure
        .details
        .get("reason")
        .and_then(Value::as_str)
        .map(str::to_owned);
    (failure.code, reason)
}

#[test]
fn evidence_decides_the_code() {
    let closed = |exit| Evidence {
        exit: Some(exit),
        ..evidence(Some(End::Closed))
    };
    let table: Vec<(Evidence, ErrorCode, Option<&str>)> = vec![
        (evidence(None), ErrorCode::Timeout, None),
        (
            closed(Ended::Exited(0)),
            ErrorCode::ControllerFailed,
            Some("exited"),
        ),
        (
            closed(Ended::Signaled(libc::SIGSEGV)),
            ErrorCode::ControllerFailed,
            Some("signal"),
        ),
        (
            closed(Ended::Signaled(libc::SIGSYS)),
            ErrorCode::SandboxViolation,
            None,
        ),
        (
            Evidence {
                memory_kills: 1,
                ..closed(Ended::Signaled(libc::SIGKILL))
            },
            ErrorCode::MemoryExceeded,
            None,
        ),
        (
            Evidence {
                outlived_channel: true,
                ..evidence(Some(End::Closed))
            },
            ErrorCode::ControllerFailed,
            Some("protocol"),
        ),
        (
            evidence(Some(End::Protocol("x".into()))),
            ErrorCode::ControllerFailed,
            Some("protocol"),
        ),
        (
            evidence(Some(failed(
                &json!({"kind": "raised", "exception": "ValueError"}),
            ))),
            ErrorCode::ControllerFailed,
            Some("raised"),
        ),
        (
            evidence(Some(failed(&json!({"kind": "exited", "status": 3})))),
            ErrorCode::ControllerFailed,
            Some("exited"),
        ),
        (
            evidence(Some(failed(&json!({"kind": "memory"})))),
            ErrorCode::MemoryExceeded,
            None,
        ),
        (
            evidence(Some(failed(&json!({"kind": "output", "path": "/a"})))),
            ErrorCode::InvalidOutput,
            None,
        ),
        // A denial that the session never gave is an exception like any other.
        (
            evidence(Some(failed(&json!({"kind": "denied", "code": "E2001"})))),
            ErrorCode::ControllerFailed,
            Some("raised"),
        ),
    ];
    for (evidence, code, reason) in table {
        let described = format!("{evidence:?}");
        assert_eq!(
            code_and_reason(evidence),
            (code, reason.map(str::to_owned)),
            "{described}"
        );
    }
}

/// A value that was returned counts, even if a child of the worker was killed.
#[test]
fn a_returned_value_stands() {
    let evidence = Evidence {
        memory_kills: 1,
        ..evidence(Some(End::Returned("1".to_owned())))
    };
    assert_eq!(
        decide(evidence).ok().map(|returned| returned.0),
        Some("1".to_owned())
    );
}

/// A hostile worker writes its error frame itself; what it says is cut, at a character.
#[test]
fn long_texts_of_errors_are_cut() {
    let long = "\u{e9}".repeat(1 << 20);
    for kind in ["raised", "output"] {
        let error = json!({
            "kind": kind, "exception": long, "message": long, "traceback": long, "code": long, "path": long,
        });
        let failure = decide(evidence(Some(failed(&error)))).expect_err("it failed");
        let bytes = failure.message.len() + json!(failure.details).to_string().len();
        assert!(bytes < 128 * 1024, "{kind}: {bytes}");
    }
}
