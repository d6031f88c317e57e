//! A session against workers that behave and workers that do not.

use super::{End, LogSink, Session, Surroundings};
use crate::{
    AuditSink, Budget, CallRecord, Capabilities, Channel, Durable, Ending, Intent, LogLevel,
};
use magic_contract::{Contract, ErrorCode, Grant, Policy};
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;

#[derive(Default)]
struct Sinks {
    lines: Mutex<Vec<String>>,
    dropped: Mutex<u64>,
    records: Mutex<Vec<(u64, String, Option<ErrorCode>)>>,
}

impl LogSink for Sinks {
    fn log(&self, _: LogLevel, message: String, _: Map<String, Value>) {
        self.lines.lock().unwrap().push(message);
    }

    fn dropped(&self, lines: u64) {
        *self.dropped.lock().unwrap() += lines;
    }
}

impl AuditSink for Sinks {
    fn record(&self, record: CallRecord<'_>) {
        let refusal = match record.ending {
            Ending::Failed(failure) => Some(failure.code),
            Ending::Performed | Ending::Unfinished => None,
        };
        self.records
            .lock()
            .unwrap()
            .push((record.call, record.method.to_owned(), refusal));
    }

    fn intend<'a>(&'a self, _: Intent<'a>) -> Durable<'a> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A grant of a contract that declares only `cache:read`.
fn grant() -> Arc<Grant> {
    let text = "name: T\nversion: 1.0.0\ninput: {type: object}\noutput: {type: object}\ncapabilities: [cache:read]\n";
    let contract = Contract::parse(text.as_bytes(), "contract.yaml").expect("a valid contract");
    Arc::new(Grant::derive(&contract, &Policy::development()))
}

fn frame(value: &Value) -> Vec<u8> {
    crate::encode(value).expect("a short frame")
}

/// Serves a worker that writes `bytes` and then hangs up.
async fn serve(bytes: Vec<u8>, budget: Budget) -> (End, Sinks, Vec<u8>) {
    let (own, mut other) = tokio::io::duplex(1 << 20);
    other.write_all(&bytes).await.unwrap();
    other.shutdown().await.unwrap();
    let sinks = Sinks::default();
    let grant = grant();
    let mut channel = Channel::new(own);
    let around = Surroundings {
        grants: &grant,
        capabilities: &Capabilities::none(),
        deadline: Instant::now() + Duration::from_secs(60),
        logs: &sinks,
        audit: &sinks,
    };
    let end = Session::new(&mut channel, around, budget).serve(b"").await;
    drop(channel);
    (end, sinks, read_all(other).await)
}

async fn read_all(mut stream: DuplexStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    bytes
}

fn joined(values: &[Value]) -> Vec<u8> {
    values.iter().flat_map(frame).collect()
}

#[tokio::test]
async fn lines_are_kept_until_the_result() {
    let log = |text: &str| json!({"method": "log", "params": {"level": "info", "message": text}});
    let bytes = joined(&[
        log("one"),
        log("two"),
        json!({"id": 0, "result": 7}),
        log("late"),
    ]);
    let (end, sinks, _) = serve(bytes, Budget::default()).await;
    assert!(
        matches!(&end, End::Returned(text) if text == "7"),
        "{end:?}"
    );
    assert_eq!(*sinks.lines.lock().unwrap(), ["one", "two"]);
}

#[tokio::test]
async fn every_call_is_refused_recorded_and_answered() {
    let call = |id: u64, method: &str| json!({"id": id, "method": method, "params": {}});
    let bytes = joined(&[
        call(1, "db.query"),
        call(2, "cache.get"),
        call(5, "os.system"),
        json!({"id": 0, "error": {"kind": "denied", "code": "E2001", "message": "invented"}}),
    ]);
    let (end, sinks, answers) = serve(bytes, Budget::default()).await;
    assert_eq!(
        *sinks.records.lock().unwrap(),
        [
            (
                1,
                "db.query".to_owned(),
                Some(ErrorCode::CapabilityUndeclared)
            ),
            // Declared, so the refusal is not the contract's.
            (2, "cache.get".to_owned(), Some(ErrorCode::ControllerFailed)),
            (
                5,
                "os.system".to_owned(),
                Some(ErrorCode::CapabilityUndeclared)
            ),
        ]
    );
    let answers = String::from_utf8_lossy(&answers).into_owned();
    assert_eq!(
        answers.matches("\"code\":\"E2001\"").count(),
        2,
        "{answers}"
    );
    // The refusal that ends the request is the session's own, not the text sent.
    let End::Failed {
        refusal: Some(refusal),
        ..
    } = end
    else {
        panic!("{end:?}")
    };
    assert!(refusal.message.contains("os.system"), "{}", refusal.message);
}

#[tokio::test]
async fn a_denial_that_was_never_given_is_no_refusal() {
    let bytes = joined(&[json!({"id": 0, "error": {"kind": "denied", "code": "E2002"}})]);
    let (end, _, _) = serve(bytes, Budget::default()).await;
    assert!(matches!(end, End::Failed { refusal: None, .. }), "{end:?}");
}

#[tokio::test]
async fn breaches_of_the_protocol_end_the_session() {
    let call = |id: u64| json!({"id": id, "method": "db.query"});
    for (name, bytes) in [
        ("a repeated number", joined(&[call(2), call(2)])),
        ("a falling number", joined(&[call(2), call(1)])),
        ("number zero", joined(&[call(0)])),
        ("readiness again", joined(&[json!({"method": "ready"})])),
        ("no message", joined(&[json!([1, 2])])),
        ("garbage", b"\xff\xff\xff\xffgarbage".to_vec()),
        (
            "a cut-off frame",
            frame(&json!({"id": 0, "result": 1}))[..9].to_vec(),
        ),
    ] {
        let (end, _, _) = serve(bytes, Budget::default()).await;
        assert!(matches!(end, End::Protocol(_)), "{name}: {end:?}");
    }
}

#[tokio::test]
async fn a_hang_up_between_frames_is_a_closed_channel() {
    let (end, _, _) = serve(Vec::new(), Budget::default()).await;
    assert!(matches!(end, End::Closed), "{end:?}");
}

#[tokio::test]
async fn budgets_hold() {
    let log = json!({"method": "log", "params": {"level": "info", "message": "line"}});
    let result = json!({"id": 0, "result": null});
    let few_lines = Budget {
        log_lines: 1,
        ..Budget::default()
    };
    let (end, sinks, _) = serve(
        joined(&[log.clone(), log.clone(), log.clone(), result]),
        few_lines,
    )
    .await;
    assert!(
        matches!(&end, End::Returned(text) if text == "null"),
        "{end:?}"
    );
    assert_eq!(
        (
            sinks.lines.lock().unwrap().len(),
            *sinks.dropped.lock().unwrap()
        ),
        (1, 2)
    );

    let few_frames = Budget {
        frames: 1,
        ..Budget::default()
    };
    let (end, _, _) = serve(joined(&[log.clone(), log]), few_frames).await;
    assert!(matches!(end, End::Protocol(_)), "{end:?}");

    let few_bytes = Budget {
        bytes: 100,
        ..Budget::default()
    };
    let long = json!({"id": 1, "method": "db.query", "params": "x".repeat(100)});
    let (end, sinks, _) = serve(joined(&[long]), few_bytes).await;
    assert!(matches!(end, End::Protocol(_)), "{end:?}");
    assert!(sinks.records.lock().unwrap().is_empty());

    let few_calls = Budget {
        calls: 1,
        ..Budget::default()
    };
    let calls = joined(&[
        json!({"id": 1, "method": "db.query"}),
        json!({"id": 2, "method": "db.query"}),
    ]);
    let (_, sinks, _) = serve(calls, few_calls).await;
    assert_eq!(
        sinks.records.lock().unwrap()[1].2,
        Some(ErrorCode::BudgetExceeded)
    );
}

/// Too long a line is a dropped line, and what follows is served.
#[tokio::test]
async fn a_line_too_long_is_dropped_unread() {
    let fields = json!({"many": vec![0; 200_000]});
    let log =
        json!({"method": "log", "params": {"level": "info", "message": "m", "fields": fields}});
    let bytes = joined(&[log, json!({"id": 0, "result": vec![1; 50_000]})]);
    let (end, sinks, _) = serve(bytes, Budget::default()).await;
    assert!(matches!(end, End::Returned(_)), "{end:?}");
    assert_eq!(*sinks.dropped.lock().unwrap(), 1);
    assert!(sinks.lines.lock().unwrap().is_empty());
}
