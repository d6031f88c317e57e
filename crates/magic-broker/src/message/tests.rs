//! Every message, and the near misses of each.

use super::{FromWorker, LogLevel, WorkerErrorKind};
use proptest::prelude::*;
use serde_json::Map;

fn parse(body: &str) -> Result<FromWorker, String> {
    FromWorker::parse(body.as_bytes()).map_err(|error| error.to_string())
}

#[test]
fn every_message_is_read() {
    assert_eq!(
        parse(r#"{"method":"ready","params":{"pid":4}}"#),
        Ok(FromWorker::Ready)
    );
    assert_eq!(
        parse(r#"{"id":0,"result":null}"#),
        Ok(FromWorker::Returned("null".to_owned()))
    );
    assert_eq!(
        parse(r#"{"id":0,"result":{"a":1}}"#),
        Ok(FromWorker::Returned(r#"{"a":1}"#.to_owned()))
    );
    assert_eq!(
        parse(r#"{"method":"log","params":{"level":"warning","message":"m"}}"#),
        Ok(FromWorker::Log {
            level: LogLevel::Warning,
            message: "m".into(),
            fields: Map::new()
        })
    );
    assert_eq!(
        parse(r#"{"id":3,"method":"db.query","params":{"table":"t"}}"#),
        Ok(FromWorker::Call {
            id: 3,
            method: "db.query".into(),
            params: r#"{"table":"t"}"#.into()
        })
    );
    let Ok(FromWorker::Failed(error)) =
        parse(r#"{"id":0,"error":{"kind":"raised","exception":"ValueError"}}"#)
    else {
        panic!("a raised error is read");
    };
    assert_eq!(
        (error.kind, error.exception.as_deref()),
        (WorkerErrorKind::Raised, Some("ValueError"))
    );
}

#[test]
fn near_misses_are_refused() {
    for body in [
        "",
        "[]",
        "null",
        "{}",
        r#"{"id":0}"#,
        r#"{"id":1,"result":1}"#,
        r#"{"id":0,"result":1,"error":{"kind":"raised"}}"#,
        r#"{"id":0,"result":1,"tenant":"other"}"#,
        r#"{"id":-1,"method":"db.query"}"#,
        r#"{"id":"0","result":1}"#,
        r#"{"id":0,"error":{"kind":"returned"}}"#,
        r#"{"id":0,"error":{"kind":"raised","oom":true}}"#,
        r#"{"method":"log"}"#,
        r#"{"method":"log","params":{"level":"fatal","message":"m"}}"#,
        r#"{"method":"shutdown"}"#,
        r#"{"id":0,"result":1} {"id":0,"result":2}"#,
    ] {
        assert!(parse(body).is_err(), "accepted {body}");
    }
}

/// A result is passed on as text: how deep and how large it is, and what its
/// strings are made of, is judged where it is read.
#[test]
fn a_result_is_not_read_here() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for text in [deep.as_str(), r#""\ud800""#, r#"{"a":1,"a":2}"#] {
        let parsed = parse(&format!(r#"{{"id":0,"result":{text}}}"#));
        assert!(
            parsed == Ok(FromWorker::Returned(text.to_owned())),
            "{text}"
        );
    }
}

/// What a breach is called ends up in a log, so nothing of the frame is in it.
#[test]
fn errors_never_repeat_the_frame() {
    for body in [
        r#"{"id":0,"FORGED":1}"#,
        r#"{"method":"log","params":{"level":"FORGED","message":"m"}}"#,
        r#"{"method":"log","params":{"level":"info","message":"m","FORGED":1}}"#,
        r#"{"id":0,"error":{"kind":"FORGED"}}"#,
        r#"{"method":"FORGED"}"#,
    ] {
        let error = parse(body).expect_err("no message");
        assert!(!error.contains("FORGED"), "{error}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = FromWorker::parse(&body);
    }

    #[test]
    fn arbitrary_json_shaped_text_never_panics(body in r#"[\{\}\[\]",:a-z0-9 ]{0,80}"#) {
        let _ = FromWorker::parse(body.as_bytes());
    }
}
