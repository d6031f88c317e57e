//! A node that is killed in the middle of a change, and at random moments: afterwards there is what was before or what was to be.

use crate::bundles::telling;
use crate::service::{KEY, Service, call, deploy_events, verify_audit};
use crate::support::postgres::Postgres;
use serde_json::json;
use std::path::Path;
use std::time::Duration;

const STEPS: [&str; 6] = ["read", "judged", "imported", "tried", "stored", "switched"];

/// Moments after which a change without steps is killed, in milliseconds.
const MOMENTS: [u64; 4] = [0, 2, 8, 30];

/// What serves now, which must be what the history ends with, with the files that belong to it.
fn serving(service: &Service, place: &Path) -> Option<String> {
    let mut active = None;
    for event in service.history("Echo") {
        let (event, version) = event.split_once(' ').expect("two words");
        active = (event != "delete").then(|| version.to_owned());
    }
    let answer = service.execute("Echo", &json!({}));
    match &active {
        None => assert_eq!(answer.code(), "E4004", "{}", answer.body),
        Some(version) => {
            assert_eq!(answer.version(), version, "{}", answer.body);
            assert_eq!(answer.body["result"]["told"], json!(version), "mixed");
        }
    }
    let listed = service.versions("Echo");
    let listed = listed.iter().find_map(|line| line.strip_suffix(" active"));
    assert_eq!(listed, active.as_deref());
    let bundles = place.join("data/bundles");
    for entry in std::fs::read_dir(bundles).expect("our own folder") {
        let name = entry.expect("our own folder").file_name();
        assert!(
            !name.as_encoded_bytes().starts_with(b"."),
            "{name:?} is half a bundle"
        );
    }
    active
}

/// Kills a deploy at each of its steps, and roll-backs and deletes at several moments.
fn every_end_is_old_or_new(environment: &[(&str, &str)]) {
    let place = tempfile::tempdir().expect("a temporary folder");
    let place = place.path();
    let mut service = Service::start(place, environment);
    assert_eq!(service.deploy(&telling("Echo", "1.0.0"), "").status, 201);
    let mut old = "1.0.0".to_owned();
    for (number, step) in ["nothing"].iter().chain(&STEPS).enumerate() {
        let new = format!("1.1.{number}");
        let mut events = deploy_events(service.address, KEY, &telling("Echo", &new));
        if *step != "nothing" {
            assert!(
                events.any(|(_, data)| data["step"] == **step),
                "{step} is told"
            );
        }
        service.kill();
        service = Service::start(place, environment);
        let active = serving(&service, place).expect("something serves");
        // What was told to be stored is; what was not may be.
        if ["stored", "switched"].contains(step) {
            assert_eq!(active, new, "killed after {step}");
        } else {
            assert!(
                [&old, &new].contains(&&active),
                "killed after {step}: {active}"
            );
        }
        // The interrupted deploy can be asked for again, whatever became of it.
        let again = service.deploy(&telling("Echo", &new), "");
        assert!(again.status < 300, "{}", again.body);
        assert_eq!(serving(&service, place).as_deref(), Some(new.as_str()));
        old = new;
    }
    for (path, method, body) in [
        ("/api/controllers/Echo/rollback", "POST", &b"{}"[..]),
        ("/api/controllers/Echo", "DELETE", &b""[..]),
    ] {
        for after in MOMENTS {
            let before = serving(&service, place).expect("something serves");
            let address = service.address;
            let asking = std::thread::spawn(move || call(address, method, path, KEY, body));
            std::thread::park_timeout(Duration::from_millis(after));
            service.kill();
            let told = asking.join().expect("no panic");
            service = Service::start(place, environment);
            let active = serving(&service, place);
            if told.is_some_and(|answer| answer.status == 200) {
                assert_ne!(active.as_ref(), Some(&before), "{method} was acknowledged");
            }
            if active.is_none() {
                assert_eq!(method, "DELETE");
                let again = service.deploy(&telling("Echo", &before), "");
                assert_eq!(again.status, 201, "{}", again.body);
            }
        }
    }
    assert!(service.stop().success());
    verify_audit(place);
}

#[test]
fn a_change_that_is_killed_happened_or_did_not_on_sqlite() {
    every_end_is_old_or_new(&[]);
}

#[test]
fn a_change_that_is_killed_happened_or_did_not_on_postgres() {
    let postgres = Postgres::start();
    let store = postgres.database("state");
    every_end_is_old_or_new(&[("MAGIC_STORE_URL", &store)]);
}
