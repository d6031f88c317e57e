//! Class G over capabilities: frames that the SDK would never send, from a controller that has rights.
//!
//! Each is refused as a call or ends its session as a breach of the protocol; every call that was read is one
//! record, and the server goes on.

use crate::acting::{acting, request_id, step, steps};
use crate::audit::calls_of;
use crate::support::command::export;
use crate::support::server::{Controllers, Server};
use serde_json::{Value, json};

const CONTRACT: &str = "
capabilities: [cache:read]
resources: { timeout: 60s, memory: 128Mi }
";

/// What a request of raw frames must come to.
enum Comes {
    /// It is answered, and its calls with these codes; an allowed call has none.
    Answered(&'static [&'static str]),
    /// E3003 with reason `protocol`.
    Breach,
    /// Its own words were its answer.
    AsItSaid,
}

use Comes::{Answered, AsItSaid, Breach};

fn get(id: u64) -> Value {
    json!({"id": id, "method": "cache.get", "params": {"key": "a"}})
}

fn text(text: &str) -> Value {
    json!({"text": text})
}

fn raw(frames: &[Value]) -> Value {
    json!({"raw": {"frames": frames}})
}

/// A row: what is sent, what it comes to, how many records it leaves.
#[test]
fn forged_frames_are_refused_once_each_and_harm_nobody() {
    let server = Server::start(acting(Controllers::new(), "Forging", CONTRACT));
    let call = |params: &str| {
        let text = format!(r#"{{"id":1,"method":"cache.get","params":{params}}}"#);
        raw(&[json!({"text": text})])
    };
    let method = |name: &str| raw(&[json!({"id": 1, "method": name, "params": {"key": "a"}})]);
    let largest = raw(&[get(u64::MAX)]);
    let result = text(r#"{"id":0,"result":{}}"#);
    let unread = json!({"raw": {"frames": [result, get(1)], "reads": false}});
    let rows: Vec<(Value, Comes, usize)> = vec![
        // The twin of everything here: a frame by hand is a call like any other.
        (raw(&[get(1)]), Answered(&["none"]), 1),
        (raw(&[get(1), get(2), get(9)]), Answered(&["none"; 3]), 3),
        (largest, Answered(&["none"]), 1),
        // Methods that do not exist, and those that it has no right to.
        (method("cache.nothing"), Answered(&["E2001"]), 1),
        (method(""), Answered(&["E2001"]), 1),
        (method("cache.get\u{0}"), Answered(&["E2001"]), 1),
        (method(&"m".repeat(100_000)), Answered(&["E2001"]), 1),
        (method("cache.set"), Answered(&["E2001"]), 1),
        (method("secrets.get"), Answered(&["E2001"]), 1),
        // Parameters that mean nothing.
        (call("null"), Answered(&["E3003"]), 1),
        (call("[]"), Answered(&["E3003"]), 1),
        (call(r#"["a"]"#), Answered(&["E3003"]), 1),
        (call("7"), Answered(&["E3003"]), 1),
        (call("{}"), Answered(&["E3003"]), 1),
        (call(r#"{"key":null}"#), Answered(&["E3003"]), 1),
        (call(r#"{"key":"a","key":"b"}"#), Answered(&["E3003"]), 1),
        (
            call(r#"{"key":"a","controller":"Other"}"#),
            Answered(&["E3003"]),
            1,
        ),
        (
            raw(&[text(r#"{"id":1,"method":"cache.get"}"#)]),
            Answered(&["E3003"]),
            1,
        ),
        (json!({"nested": 100_000}), Answered(&["E3003"]), 1),
        (json!({"huge": 7 << 20}), Answered(&["E3003"]), 1),
        // Numbers are counted upwards, and each is used once.
        (raw(&[get(1), get(1)]), Breach, 1),
        (raw(&[get(5), get(3)]), Breach, 1),
        (raw(&[get(0)]), Breach, 0),
        (
            raw(&[text(
                r#"{"id":-1,"method":"cache.get","params":{"key":"a"}}"#,
            )]),
            Breach,
            0,
        ),
        (
            raw(&[text(
                r#"{"id":18446744073709551616,"method":"cache.get","params":{"key":"a"}}"#,
            )]),
            Breach,
            0,
        ),
        // Who it is was never a question: a name in the frame is a breach, whatever it names.
        (
            raw(&[text(
                r#"{"id":1,"method":"cache.get","params":{"key":"a"},"request_id":"req_00000000000000000000000000"}"#,
            )]),
            Breach,
            0,
        ),
        (
            raw(&[
                get(1),
                text(r#"{"id":2,"method":"cache.get","params":{"key":"a"},"controller":"Other"}"#),
            ]),
            Breach,
            1,
        ),
        // An answer to a call that nobody made, several messages as one, a message that is none.
        (raw(&[text(r#"{"id":7,"result":{}}"#)]), Breach, 0),
        (
            raw(&[text(
                r#"[{"id":1,"method":"cache.get","params":{"key":"a"}}]"#,
            )]),
            Breach,
            0,
        ),
        (raw(&[get(1), text("not JSON")]), Breach, 1),
        // After the result nothing is read any more.
        (unread, AsItSaid, 0),
    ];
    let mut ended = Vec::new();
    for (input, comes, records) in rows {
        let answer = server.execute("Forging", &input);
        let mut shown = input.to_string();
        shown.truncate(shown.floor_char_boundary(200));
        match comes {
            Answered(codes) => {
                assert_eq!(answer.status, 200, "{shown}: {}", answer.body);
                let answers = answer.body["result"]["answers"]
                    .as_array()
                    .expect("answers");
                let told: Vec<&str> = answers
                    .iter()
                    .map(|one| one["error"]["code"].as_str().unwrap_or("none"))
                    .collect();
                assert_eq!(told, codes, "{shown}: {}", answer.body);
            }
            Breach => {
                let told = (answer.code(), answer.reason());
                assert_eq!(told, ("E3003", "protocol"), "{shown}: {}", answer.body);
            }
            AsItSaid => {
                assert_eq!(answer.status, 200, "{shown}: {}", answer.body);
                assert_eq!(answer.body["result"], json!({}), "{shown}");
            }
        }
        ended.push((shown, request_id(&answer), records));
    }
    let all = export(server.data.path());
    for (shown, request, expected) in ended {
        let calls = calls_of(&all, &request);
        assert_eq!(calls.len(), expected, "{shown}: {calls:#?}");
    }
    // Nothing was gained: the next request has its own rights, and the server is well.
    assert_eq!(server.get("/api/health").status, 200);
    let (_, told) = steps(&server, "Forging", &[step("cache.get", json!(["a"]))]);
    assert_eq!(told[0], json!({"value": null}));
}
