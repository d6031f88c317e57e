//! Pointers that move: roll back, delete, versions by their numbers, restarts; and files that somebody changed.

use crate::bundles::{archive, code, contract, telling, write};
use crate::service::{Service, records, verify_audit};
use serde_json::{Value, json};
use std::path::Path;

fn place() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// A service with these versions of `Echo`, deployed in that order.
fn with_versions(place: &Path, versions: &[&str]) -> Service {
    let service = Service::start(place, &[]);
    for version in versions {
        let answer = service.deploy(&telling("Echo", version), "");
        assert_eq!(answer.status, 201, "{}", answer.body);
    }
    service
}

/// What answers, by what the code says and by what the answer says of it.
fn told(service: &Service, path: &str) -> String {
    let answer = service.execute(path, &json!({}));
    assert_eq!(
        answer.body["result"]["told"], answer.body["version"],
        "{answer:?}"
    );
    answer.version().to_owned()
}

#[test]
fn a_rollback_goes_where_it_is_told() {
    let place = place();
    let service = with_versions(place.path(), &["1.0.0", "1.1.0", "1.2.0"]);
    for (to, becomes, replaced, changed) in [
        (None, "1.1.0", json!("1.2.0"), true),
        (None, "1.2.0", json!("1.1.0"), true),
        (Some("v1.0.0"), "1.0.0", json!("1.2.0"), true),
        (Some("1.0.0"), "1.0.0", Value::Null, false),
        (Some("1.1.0"), "1.1.0", json!("1.0.0"), true),
    ] {
        let answer = service.roll_back("Echo", to);
        assert_eq!(answer.status, 200, "{to:?}: {}", answer.body);
        assert_eq!(answer.version(), becomes, "{to:?}");
        assert_eq!(
            (&answer.body["replaced"], &answer.body["changed"]),
            (&replaced, &json!(changed)),
            "{to:?}"
        );
        assert_eq!(told(&service, "Echo"), becomes, "{to:?}");
    }
    for (name, to, code) in [
        ("Echo", "9.9.9", "E4004"),
        ("Echo", "", "E4004"),
        ("Echo", "latest", "E4004"),
        ("Echo", "1.0.0' OR 1=1", "E4004"),
        ("Echo", "\u{0}", "E4004"),
        ("Nobody", "1.0.0", "E4004"),
    ] {
        let answer = service.roll_back(name, Some(to));
        assert_eq!(
            (answer.status, answer.code()),
            (404, code),
            "{name} {to:?}: {}",
            answer.body
        );
    }
    let long = service.roll_back("Echo", Some(&"1".repeat(100_000)));
    assert_eq!(long.code(), "E4004");
    assert!(
        long.body.to_string().len() < 2_000,
        "what was sent is not sent back"
    );
    for body in [
        "",
        "[]",
        "{\"too\": \"1.0.0\"}",
        "{\"to\": 1}",
        "{\"reason\": 7}",
    ] {
        let answer = service.post("/api/controllers/Echo/rollback", body);
        assert_eq!(
            (answer.status, answer.code()),
            (400, "E1004"),
            "{body}: {}",
            answer.body
        );
    }
    let only = service.deploy(&telling("Only", "1.0.0"), "");
    assert_eq!(only.status, 201);
    let answer = service.roll_back("Only", None);
    assert_eq!(
        (answer.status, answer.code()),
        (400, "E4003"),
        "{}",
        answer.body
    );
    assert_eq!(told(&service, "Echo"), "1.1.0");
    assert_eq!(
        service.history("Echo"),
        [
            "deploy 1.0.0",
            "deploy 1.1.0",
            "deploy 1.2.0",
            "rollback 1.1.0",
            "rollback 1.2.0",
            "rollback 1.0.0",
            "rollback 1.1.0"
        ]
    );
    assert!(service.stop().success());
    // Each change that was announced has an end, the refused ones too.
    let records = records(place.path());
    let of = |kind: &str| {
        records
            .iter()
            .filter(|record| record["kind"] == kind && record["controller"] == "Echo")
            .count()
    };
    let intents = records
        .iter()
        .filter(|record| {
            record["kind"] == "intent"
                && record["method"] == "rollback"
                && record["controller"] == "Echo"
        })
        .count();
    assert_eq!(of("rollback"), intents);
    verify_audit(place.path());
}

#[test]
fn idle_versions_answer_whoever_names_them() {
    let place = place();
    let service = with_versions(place.path(), &["1.0.0", "1.1.0", "1.2.0"]);
    for version in ["1.0.0", "1.1.0", "1.2.0", "1.0.0"] {
        assert_eq!(told(&service, &format!("Echo?version={version}")), version);
        assert_eq!(told(&service, &format!("Echo?version=v{version}")), version);
    }
    assert_eq!(told(&service, "Echo"), "1.2.0");
    for wrong in ["9.9.9", "", "%00", "1.0.0%27"] {
        let answer = service.execute(&format!("Echo?version={wrong}"), &json!({}));
        assert_eq!(
            (answer.status, answer.code()),
            (404, "E4004"),
            "{wrong}: {}",
            answer.body
        );
    }
    // A crowd that asks for one version at once gets it.
    let service = &service;
    service.roll_back("Echo", Some("1.1.0"));
    std::thread::scope(|scope| {
        let crowd: Vec<_> = (0..16)
            .map(|_| scope.spawn(|| told(service, "Echo?version=1.0.0")))
            .collect();
        for one in crowd {
            assert_eq!(one.join().expect("no panic"), "1.0.0");
        }
    });
}

#[test]
fn what_is_deleted_can_come_back_as_it_was() {
    let place = place();
    let service = with_versions(place.path(), &["1.0.0", "1.1.0"]);
    let answer = service.delete("Echo");
    assert_eq!(
        (answer.status, answer.version()),
        (200, "none"),
        "{}",
        answer.body
    );
    for path in ["Echo", "Echo?version=1.1.0", "Echo?version=1.0.0"] {
        assert_eq!(service.execute(path, &json!({})).code(), "E4004", "{path}");
    }
    assert_eq!(service.delete("Echo").code(), "E4004");
    assert_eq!(service.roll_back("Echo", Some("1.0.0")).code(), "E4004");
    assert_eq!(service.versions("Echo"), ["1.1.0 idle", "1.0.0 idle"]);
    // The same number with other content stays a conflict; the same content serves again.
    let other = archive(&contract("Echo", "1.1.0", ""), &code("return {}"));
    assert_eq!(service.deploy(&other, "").code(), "E4003");
    let answer = service.deploy(&telling("Echo", "1.1.0"), "");
    assert_eq!(
        (answer.status, &answer.body["changed"]),
        (201, &json!(true))
    );
    assert_eq!(told(&service, "Echo"), "1.1.0");
    assert_eq!(told(&service, "Echo?version=1.0.0"), "1.0.0");
    assert_eq!(
        service.history("Echo"),
        [
            "deploy 1.0.0",
            "deploy 1.1.0",
            "delete 1.1.0",
            "deploy 1.1.0"
        ]
    );
}

#[test]
fn a_restart_changes_nothing() {
    let place = place();
    let service = with_versions(place.path(), &["1.0.0", "1.1.0", "1.2.0"]);
    service.roll_back("Echo", Some("1.1.0"));
    assert_eq!(
        service
            .deploy(&telling("Echo", "1.3.0"), "canary=25")
            .status,
        201
    );
    assert_eq!(service.deploy(&telling("Gone", "1.0.0"), "").status, 201);
    service.delete("Gone");
    let (versions, history) = (service.versions("Echo"), service.history("Echo"));
    assert_eq!(
        versions,
        ["1.3.0 canary", "1.2.0 idle", "1.1.0 active", "1.0.0 idle"]
    );
    let mut service = service;
    for ending in ["stopped", "killed", "stopped"] {
        match ending {
            "killed" => service.kill(),
            _ => assert!(service.stop().success()),
        }
        service = Service::start(place.path(), &[]);
        assert_eq!(
            (service.versions("Echo"), service.history("Echo")),
            (versions.clone(), history.clone()),
            "{ending}"
        );
        let canaries = (0..100)
            .filter(|_| told(&service, "Echo") == "1.3.0")
            .count();
        assert_eq!(canaries, 25, "{ending}");
        assert_eq!(service.execute("Gone", &json!({})).code(), "E4004");
        assert_eq!(told(&service, "Echo?version=1.2.0"), "1.2.0");
    }
    // Where a roll-back goes is kept as well.
    assert_eq!(service.roll_back("Echo", None).version(), "1.2.0");
    assert!(service.stop().success());
    verify_audit(place.path());
}

/// A folder that the service is started with brings its versions once; what became of them since stands.
#[test]
fn a_folder_does_not_undo_what_was_decided() {
    let place = place();
    let folder = place.path().join("brought");
    let bring = |version: &str| {
        write(
            &folder,
            "Echo",
            &contract("Echo", version, ""),
            &code(&format!("return {{\"told\": \"{version}\"}}")),
        );
    };
    let start = || {
        let folder = folder.to_str().expect("UTF-8");
        Service::start_with(place.path(), &[], &[folder, "--listen", "127.0.0.1:0"])
    };
    bring("1.0.0");
    let service = start();
    assert_eq!(told(&service, "Echo"), "1.0.0");
    assert!(service.stop().success());
    bring("1.1.0");
    let service = start();
    assert_eq!(told(&service, "Echo"), "1.1.0");
    assert_eq!(service.roll_back("Echo", None).version(), "1.0.0");
    assert!(service.stop().success());
    let service = start();
    assert_eq!(
        told(&service, "Echo"),
        "1.0.0",
        "rolled back stays rolled back"
    );
    service.delete("Echo");
    assert!(service.stop().success());
    let service = start();
    assert_eq!(
        service.execute("Echo", &json!({})).code(),
        "E4004",
        "deleted stays deleted"
    );
    assert_eq!(
        service.history("Echo"),
        [
            "deploy 1.0.0",
            "deploy 1.1.0",
            "rollback 1.0.0",
            "delete 1.0.0"
        ]
    );
}

/// Whoever can write the data folder can exchange what was deployed; it is found out before it serves.
#[test]
fn files_that_were_changed_after_the_deploy_serve_nobody() {
    let place = place();
    let service = with_versions(place.path(), &["1.0.0", "1.1.0"]);
    assert!(service.stop().success());
    let bundles = place.path().join("data/bundles");
    for entry in std::fs::read_dir(&bundles).expect("our own folder") {
        let program = entry.expect("our own folder").path().join("controller.py");
        let text = std::fs::read_to_string(&program).expect("a program");
        if text.contains("\"1.0.0\"") {
            std::fs::write(&program, text.replace("\"1.0.0\"", "\"evil\""))
                .expect("root may write");
        }
    }
    let service = Service::start(place.path(), &[]);
    assert_eq!(told(&service, "Echo"), "1.1.0");
    let answer = service.execute("Echo?version=1.0.0", &json!({}));
    assert_eq!(
        (answer.status, answer.code()),
        (500, "E4005"),
        "{}",
        answer.body
    );
    assert!(answer.message().contains("changed"), "{}", answer.body);
    // A roll-back there is refused while nothing has changed.
    let answer = service.roll_back("Echo", None);
    assert_eq!(
        (answer.status, answer.code()),
        (500, "E4005"),
        "{}",
        answer.body
    );
    assert_eq!(told(&service, "Echo"), "1.1.0");
    assert_eq!(service.versions("Echo"), ["1.1.0 active", "1.0.0 idle"]);
    assert!(service.stop().success());
    // The active version, too: it does not serve, and everybody is told why.
    for entry in std::fs::read_dir(&bundles).expect("our own folder") {
        let path = entry.expect("our own folder").path().join("more.py");
        std::fs::write(path, "").expect("root may write");
    }
    let service = Service::start(place.path(), &[]);
    let answer = service.execute("Echo", &json!({}));
    assert_eq!(
        (answer.status, answer.code(), answer.reason()),
        (500, "E4005", "rollout"),
        "{}",
        answer.body
    );
    let listed = service.get("/api/controllers").body;
    assert_eq!(listed["unserved"][0]["name"], "Echo", "{listed}");
    // What the state has makes them whole again, as the message says.
    std::fs::remove_dir_all(&bundles).expect("our own folder");
    std::fs::create_dir(&bundles).expect("our own folder");
    crate::support::server::wait_for("the node to serve what it can again", || {
        (service.execute("Echo", &json!({})).version() == "1.1.0").then_some(())
    });
    assert_eq!(service.roll_back("Echo", None).version(), "1.0.0");
    assert_eq!(told(&service, "Echo"), "1.0.0");
}
