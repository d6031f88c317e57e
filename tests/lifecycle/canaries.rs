//! A version that is tried on a share of the requests.

use crate::bundles::{archive, code, contract, telling};
use crate::service::{Service, records, verify_audit};
use crate::support::server::wait_for;
use serde_json::json;

fn place() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// How many of a hundred requests a version answers.
fn share(service: &Service, version: &str) -> usize {
    (0..100)
        .filter(|_| service.execute("Echo", &json!({})).version() == version)
        .count()
}

#[test]
fn a_canary_gets_its_share_exactly_until_it_is_ended() {
    let place = place();
    let service = Service::start(place.path(), &[]);
    let answer = service.deploy(&telling("Echo", "1.0.0"), "canary=10");
    assert_eq!(
        answer.code(),
        "E4003",
        "a canary needs something beside it: {}",
        answer.body
    );
    assert_eq!(service.deploy(&telling("Echo", "1.0.0"), "").status, 201);
    let answer = service.deploy(&telling("Echo", "1.0.0"), "canary=10");
    assert_eq!(
        answer.code(),
        "E4003",
        "nobody is their own canary: {}",
        answer.body
    );
    let end = |action: &str| {
        let body = json!({ "action": action }).to_string();
        service.post("/api/controllers/Echo/canary", &body)
    };
    assert_eq!(end("promote").code(), "E4004", "there is none");
    assert_eq!(end("forget").code(), "E1004");
    for percent in [1, 30, 99] {
        let answer = service.deploy(&telling("Echo", "1.1.0"), &format!("canary={percent}"));
        assert_eq!(answer.status, 201, "{}", answer.body);
        assert_eq!(share(&service, "1.1.0"), percent);
        let listed = service.get("/api/controllers/Echo").body;
        assert_eq!(listed["canary"]["percent"], percent, "{listed}");
        assert_eq!(listed["canary"]["requests"], percent, "{listed}");
    }
    // By its number it answers everybody, and is not counted.
    assert_eq!(
        service.execute("Echo?version=1.1.0", &json!({})).version(),
        "1.1.0"
    );
    assert_eq!(
        service.get("/api/controllers/Echo").body["canary"]["requests"],
        99
    );
    assert_eq!(end("return").status, 200);
    assert_eq!(share(&service, "1.0.0"), 100);
    assert_eq!(
        service
            .deploy(&telling("Echo", "1.1.0"), "canary=50")
            .status,
        201
    );
    assert_eq!(end("promote").version(), "1.1.0");
    assert_eq!(share(&service, "1.1.0"), 100);
    assert_eq!(service.roll_back("Echo", None).version(), "1.0.0");
    // A roll-back and a deploy end a trial.
    assert_eq!(
        service
            .deploy(&telling("Echo", "1.2.0"), "canary=50")
            .status,
        201
    );
    assert_eq!(service.deploy(&telling("Echo", "1.3.0"), "").status, 201);
    assert_eq!(share(&service, "1.3.0"), 100);
    assert_eq!(
        service.history("Echo"),
        [
            "deploy 1.0.0",
            "canary_begin 1.1.0",
            "canary_begin 1.1.0",
            "canary_begin 1.1.0",
            "canary_return 1.1.0",
            "canary_begin 1.1.0",
            "canary_promote 1.1.0",
            "rollback 1.0.0",
            "canary_begin 1.2.0",
            "deploy 1.3.0"
        ]
    );
}

#[test]
fn a_canary_that_fails_more_often_is_taken_back_and_the_history_says_why() {
    let place = place();
    let service = Service::start(place.path(), &[]);
    let failing = |version: &str| {
        archive(
            &contract("Echo", version, ""),
            &code("if input.get(\"bad\"):\n    raise ValueError(\"no\")\nreturn {}"),
        )
    };
    assert_eq!(service.deploy(&failing("1.0.0"), "").status, 201);
    // What callers do wrong, and failures on both sides, prove nothing.
    assert_eq!(
        service
            .deploy(&failing("1.1.0"), "canary=50&margin=0.3")
            .status,
        201
    );
    for _ in 0..40 {
        assert_eq!(
            service.execute("Echo", &json!({"bad": true})).code(),
            "E3003"
        );
        assert_eq!(service.execute("Echo", &json!([])).code(), "E1003");
    }
    assert_eq!(service.versions("Echo"), ["1.1.0 canary", "1.0.0 active"]);
    let broken = archive(
        &contract("Echo", "1.2.0", ""),
        &code("raise ValueError(\"always\")"),
    );
    assert_eq!(service.deploy(&broken, "canary=50").status, 201);
    let mut failures = 0;
    for _ in 0..200 {
        failures += usize::from(service.execute("Echo", &json!({})).status != 200);
    }
    assert_eq!(
        failures, 20,
        "it is judged once it has answered twenty, and gets nothing more"
    );
    wait_for("the canary to be taken back", || {
        (service.versions("Echo")[0] == "1.2.0 idle").then_some(())
    });
    let known = service.get("/api/controllers/Echo/versions").body;
    let last = &known["history"][0];
    assert_eq!(
        (&last["event"], &last["by"]),
        (&json!("canary_return"), &json!("runtime")),
        "{last}"
    );
    assert!(
        last["reason"]
            .as_str()
            .expect("a reason")
            .contains("20 of 20 requests failed"),
        "{last}"
    );
    assert!(service.stop().success());
    let recorded = records(place.path());
    assert!(
        recorded
            .iter()
            .any(|record| record["kind"] == "rollback" && record["caller"] == "runtime"),
        "{recorded:?}"
    );
    verify_audit(place.path());
}
