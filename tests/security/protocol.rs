//! Class G: bytes that the runner would never write. What a worker says never gains it anything.

use crate::probe::Inside::{Ends, Works};
use crate::probe::{Inside, Probe, Suite};
use crate::support::server::{Controllers, wait_for};
use serde_json::{Value, json};

const CONTRACT: &str = "resources: {memory: 64Mi, timeout: 3s, pids: 8}";
const BREACH: Inside = Ends("E3003", "protocol");

fn probe(name: &'static str, arguments: Value, inside: Inside) -> Probe {
    Probe::new(name, arguments, inside).only_inside()
}

/// Frames as bytes.
#[test]
fn bytes_that_are_no_frames_break_the_protocol() {
    let suite = Suite::start_with("protocol", CONTRACT, Controllers::new(), &[]);
    let bytes = |data: &str| json!({"data": data});
    suite.check(&[
        probe("send_bytes", bytes("00000000"), BREACH),
        probe("send_bytes", bytes("ffffffff"), BREACH),
        probe("send_bytes", bytes("80000000"), BREACH),
        probe("send_bytes", bytes("7fffffff7b7d"), BREACH),
        probe("send_bytes", bytes("00800001"), BREACH),
        probe("send_bytes", bytes("000000027b7d"), BREACH),
        probe("send_bytes", bytes("00000002fffe"), BREACH),
        probe("send_bytes", bytes("0000000100"), BREACH),
        // Less than was announced, and nothing more: the deadline.
        probe(
            "announce_and_stop",
            json!({"size": 100}),
            Ends("E3001", "none"),
        ),
        probe(
            "announce_and_stop",
            json!({"size": 8 << 20}),
            Ends("E3001", "none"),
        ),
        probe("announce_and_stop", json!({"size": (8 << 20) + 1}), BREACH),
        // A frame that is cut off by the end, and a length that is.
        probe("send_then_exit", bytes("000000107b22"), BREACH),
        probe("send_then_exit", bytes("0000"), BREACH),
        probe("send_then_exit", bytes(""), Ends("E3003", "exited")),
        probe("close_channel_and_run", json!({}), BREACH),
    ]);
}

/// Frames as messages.
#[test]
fn messages_that_do_not_fit_break_the_protocol() {
    let suite = Suite::start_with("protocol", CONTRACT, Controllers::new(), &[]);
    let mut probes: Vec<Probe> = [
        r#"{}"#,
        r#"[]"#,
        r#"null"#,
        r#"{"id":0}"#,
        r#"{"id":1,"result":{}}"#,
        r#"{"id":-1,"result":{}}"#,
        r#"{"id":0.0,"result":{}}"#,
        r#"{"id":18446744073709551616,"result":{}}"#,
        r#"{"id":"0","result":{}}"#,
        r#"{"id":0,"result":{},"result":{}}"#,
        r#"{"id":0,"result":{},"error":{}}"#,
        r#"{"id":0,"result":{},"extra":1}"#,
        r#"{"id":0,"method":"log","result":{}}"#,
        r#"{"id":0,"error":{"kind":"unheard"}}"#,
        r#"{"id":0,"error":{"kind":"raised","extra":1}}"#,
        r#"{"id":0,"error":"raised"}"#,
        r#"{"method":"ready"}"#,
        r#"{"method":"log"}"#,
        r#"{"method":"log","params":{"level":"loud","message":"x"}}"#,
        r#"{"method":"log","params":{"level":"info","message":1}}"#,
        r#"{"method":"execute","params":{}}"#,
        r#"{"id":0,"method":"db.query","params":{}}"#,
        r#"{"id":0,"result":NaN}"#,
        r#"{"id":0,"result":{}} {}"#,
        "{\"id\":0,\"result\":\"\u{0}\"}",
        "\u{feff}{\"id\":0,\"result\":{}}",
    ]
    .into_iter()
    .map(|text| probe("send_text", json!({"text": text}), BREACH))
    .collect();
    let result = json!({"text": r#"{"id":0,"result":{"succeeded":true,"detail":""}}"#});
    probes.extend([
        // Controls: a frame by hand is an answer, whole or byte by byte.
        probe("send_text", result.clone(), Works),
        probe("send_slowly", result, Works),
        // Nested deeper than any reader goes: a frame like others, whose
        // content is no output.
        probe("send_deep", json!({"levels": 200}), Ends("E3004", "none")),
        probe(
            "send_deep",
            json!({"levels": 1_000_000}),
            Ends("E3004", "none"),
        ),
        // Longer than a frame may be.
        probe("send_large", json!({"size": 9 << 20}), BREACH),
        // More frames than a session has, and calls whose answers nobody reads.
        probe(
            "send_endlessly",
            json!({"text": r#"{"method":"log","params":{"level":"info","message":""}}"#}),
            BREACH,
        ),
        probe(
            "send_many_calls",
            json!({"count": 200_000}),
            Ends("E3001", "none"),
        ),
        // A result that also names another request is no result; identity is the socket.
        probe("claim_other_request", json!({}), BREACH),
        // A denial that the supervisor never gave is only an exception.
        probe("claim_denial", json!({}), Ends("E3003", "raised")),
    ]);
    suite.check(&probes);
}

/// Forged frames and a rewritten SDK reach the same check as everyone; each call is recorded.
#[test]
fn forged_calls_gain_nothing_and_are_recorded() {
    let suite = Suite::start_with("protocol", CONTRACT, Controllers::new(), &[]);
    let call = |method: &str| json!({"method": method, "params": {"table": "customers"}});
    suite.check(&[
        Probe::refused("forge_call", call("db.query"), &["EPERM"]).only_inside(),
        Probe::refused("forge_call", call("secrets.get"), &["EPERM"]).only_inside(),
    ]);
    for method in [
        "db.query",
        "db.raw",
        "secrets.get",
        "http.request",
        "cache.get",
        "queue.publish",
        "nothing.at_all",
        "",
        "db.query\u{0}",
        "__class__",
    ] {
        let (_, code) = suite.report("forge_call_code", &call(method));
        assert_eq!(code, "E2001", "{method:?}");
    }
    let (_, code) = suite.report("patch_the_sdk", &json!({}));
    assert_eq!(code, "E2001");
    let recorded = wait_for("the records of the calls", || {
        let logs = suite.server.get("/api/controllers/Probing/logs?limit=1000");
        let lines = logs.body["lines"].as_array().expect("lines").clone();
        let refusals = lines
            .iter()
            .filter(|line| line["fields"]["code"] == "E2001");
        (refusals.count() == 13).then_some(lines)
    });
    let by_runtime = |line: &&Value| line["fields"]["code"] == "E2001";
    for line in recorded.iter().filter(by_runtime) {
        assert_eq!(line["stream"], "runtime", "{line}");
        assert!(line["request_id"].is_string(), "{line}");
    }
}

/// Text cannot become a line of somebody else's, nor a command to a terminal.
#[test]
fn output_stays_output() {
    let suite = Suite::start("protocol");
    assert!(suite.report("flood_output", &json!({"lines": 50})).0);
    let containing = |what: &str| {
        wait_for(what, || {
            let logs = suite.server.get("/api/controllers/Probing/logs?limit=5000");
            let lines = logs.body["lines"].as_array().expect("lines").clone();
            let text = Value::from(lines.clone()).to_string();
            text.contains(what).then_some(lines)
        })
    };
    let mut lines = containing("forged 49");
    assert!(suite.report("log_lines", &json!({"count": 20_000})).0);
    assert!(suite.report("end_output_only", &json!({})).0);
    lines.extend(containing("dropped_lines"));
    for line in &lines {
        let message = line["message"].as_str().expect("text");
        assert!(!message.chars().any(char::is_control), "{message:?}");
        if message.contains("forged") {
            assert_eq!(
                (&line["stream"], &line["level"]),
                (&json!("stdout"), &json!("info"))
            );
        }
    }
}
