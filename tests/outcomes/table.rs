//! One attack, one answer.

use crate::support::server::{Controllers, Server, wait_for};
use crate::support::traces;
use serde_json::{Value, json};

/// The controller of `attacks.py`, under a name and with limits.
pub(crate) fn attacks(controllers: Controllers, name: &str, timeout: &str) -> Controllers {
    let contract = format!(
        "output: {{type: object, not: {{required: [unexpected]}}}}\n\
         resources: {{cpu: 1.0, memory: 64Mi, timeout: {timeout}, pids: 16}}"
    );
    controllers.with(
        name,
        &contract,
        &include_str!("attacks.py").replace("class Attack(", &format!("class {name}(")),
    )
}

fn serve() -> Server {
    let controllers = attacks(Controllers::new(), "Patient", "60s");
    Server::start(attacks(controllers, "Hasty", "300ms"))
}

fn attack(server: &Server, controller: &str, kind: &str) -> (u16, String, String, Value) {
    let answer = server.execute(controller, &json!({"kind": kind}));
    (
        answer.status,
        answer.code().to_owned(),
        answer.reason().to_owned(),
        answer.body,
    )
}

/// Every way of ending has its code and reason, and the next request is served.
#[test]
fn every_attack_has_its_answer() {
    let server = serve();
    for (controller, kind, status, code, reason) in [
        ("Patient", "answer", 200, "none", "none"),
        ("Hasty", "loop", 500, "E3001", "none"),
        ("Hasty", "fork_bomb", 500, "E3001", "none"),
        ("Patient", "allocate", 500, "E3002", "none"),
        ("Patient", "allocate_at_once", 500, "E3002", "none"),
        ("Patient", "raise", 500, "E3003", "raised"),
        ("Patient", "structured", 500, "E3003", "raised"),
        ("Patient", "exit", 500, "E3003", "exited"),
        ("Patient", "hard_exit", 500, "E3003", "exited"),
        ("Patient", "crash", 500, "E3003", "signal"),
        ("Patient", "abort", 500, "E3003", "signal"),
        ("Patient", "deep", 500, "E3002", "none"),
        ("Patient", "forbidden_call", 403, "E2005", "none"),
        ("Patient", "garbage", 500, "E3003", "protocol"),
        ("Patient", "no_frame", 500, "E3003", "protocol"),
        ("Patient", "close_channel", 500, "E3003", "protocol"),
        ("Patient", "wrong_output", 500, "E3004", "none"),
        ("Patient", "not_json", 500, "E3004", "none"),
        ("Patient", "nothing", 500, "E3004", "none"),
        ("Patient", "flood", 200, "none", "none"),
        ("Patient", "daemon", 200, "none", "none"),
        ("Patient", "threads", 200, "none", "none"),
        ("Patient", "answer", 200, "none", "none"),
    ] {
        let (got_status, got_code, got_reason, body) = attack(&server, controller, kind);
        assert_eq!(
            (got_status, got_code.as_str(), got_reason.as_str()),
            (status, code, reason),
            "{kind} on {controller}: {body}"
        );
    }
}

/// What was written to the channel first counts; there is one answer.
#[test]
fn the_first_of_two_answers_counts() {
    let (status, _, _, body) = attack(&serve(), "Patient", "answer_twice");
    assert_eq!((status, &body["result"]), (200, &json!({"first": true})));
}

/// The author's own code and details travel; so does where it was raised.
#[test]
fn structured_errors_travel() {
    let (_, _, _, body) = attack(&serve(), "Patient", "structured");
    let details = &body["error"]["details"];
    assert_eq!(details["controller_code"], "CUSTOMER_UNKNOWN");
    assert_eq!(details["controller_details"], json!({"id": 7}));
    let traceback = details["traceback"].as_str().expect("a traceback");
    assert!(traceback.contains("controller.py"), "{traceback}");
    assert!(
        !traceback.contains("/magic/sdk"),
        "only the author's frames: {traceback}"
    );
}

/// A gigabyte on standard output neither blocks nor fills anything.
#[test]
fn a_gigabyte_of_output_is_cut_and_marked() {
    let server = serve();
    let before = traces::resident_kib(server.pid());
    let (status, _, _, body) = attack(&server, "Patient", "gigabyte");
    assert_eq!(status, 200, "{body}");
    let growth = traces::resident_kib(server.pid()).saturating_sub(before);
    assert!(growth < 64 * 1024, "the supervisor grew by {growth} KiB");
    let mark = wait_for("the mark of the truncation", || {
        let logs = server.get("/api/controllers/Patient/logs?limit=1000").body;
        let text = logs.to_string();
        text.contains("dropped_bytes").then_some(text)
    });
    assert!(mark.contains("truncated"), "{mark}");
}
