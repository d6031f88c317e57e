//! Versions change while requests flow: nobody loses one, and each ends on the version that it began with.

use crate::bundles::{archive, code, contract, telling};
use crate::service::{KEY, Service, call, send};
use crate::support::server::wait_for;
use serde_json::json;
use std::io::Read as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[test]
fn requests_end_on_the_version_they_began_with() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let service = Service::start(place.path(), &[]);
    let slow = |version: &str| {
        let body = format!(
            "import asyncio\nctx.log.info(\"began\")\nawait asyncio.sleep(input[\"s\"])\nreturn {{\"told\": \"{version}\"}}"
        );
        archive(&contract("Slow", version, ""), &code(&body))
    };
    assert_eq!(service.deploy(&slow("1.0.0"), "").status, 201);
    let mut pending = Vec::new();
    for _ in 0..4 {
        let stream = send(
            service.address,
            "POST",
            "/api/execute/Slow",
            KEY,
            "*/*",
            b"{\"s\": 2}",
        )
        .expect("sent");
        pending.push(stream);
    }
    wait_for("all of them to begin", || {
        let logs = service.get("/api/controllers/Slow/logs").body.to_string();
        (logs.matches("began").count() == 4).then_some(())
    });
    assert_eq!(service.deploy(&slow("1.1.0"), "").status, 201);
    assert_eq!(
        service.execute("Slow", &json!({"s": 0})).body["result"]["told"],
        "1.1.0"
    );
    assert_eq!(service.roll_back("Slow", None).version(), "1.0.0");
    assert_eq!(service.delete("Slow").status, 200);
    for mut stream in pending {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        let answer = crate::service::parse(&answer).expect("an answer");
        assert_eq!(
            (answer.status, answer.version()),
            (200, "1.0.0"),
            "{}",
            answer.body
        );
        assert_eq!(answer.body["result"]["told"], "1.0.0");
    }
}

/// Which version is active, as the one who changes it knows it: two while a change is under way.
#[derive(Default)]
struct Pointer {
    names: Vec<String>,
    /// How many changes have begun.
    begun: usize,
}

#[test]
fn switches_under_load_lose_no_request() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let service = Service::start(place.path(), &[]);
    assert_eq!(service.deploy(&telling("Echo", "1.0.0"), "").status, 201);
    // What may have been active at some moment since: index of the first name that still could be at a request's begin.
    let pointer = Mutex::new(Pointer {
        names: vec!["1.0.0".to_owned()],
        begun: 0,
    });
    let (over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let address = service.address;
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    while !over.load(Ordering::SeqCst) {
                        // A change that is under way when it begins has left the one before as possible.
                        let first = {
                            let pointer = pointer.lock().expect("no panic");
                            pointer.begun.min(pointer.names.len() - 1)
                        };
                        let answer = call(address, "POST", "/api/execute/Echo", KEY, b"{}")
                            .expect("an answer");
                        assert_eq!(answer.status, 200, "{}", answer.body);
                        assert_eq!(
                            answer.body["result"]["told"], answer.body["version"],
                            "mixed"
                        );
                        let known = pointer.lock().expect("no panic").names[first..].to_vec();
                        assert!(
                            known.iter().any(|name| name == answer.version()),
                            "{} of {known:?}",
                            answer.version()
                        );
                        answered.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        let change = |becomes: &str, change: &dyn Fn() -> crate::service::Answer| {
            pointer
                .lock()
                .expect("no panic")
                .names
                .push(becomes.to_owned());
            let answer = change();
            assert!(answer.status < 300, "{}", answer.body);
            pointer.lock().expect("no panic").begun += 1;
            // Some requests on this version before the next one.
            let seen = answered.load(Ordering::SeqCst);
            wait_for("requests to be answered", || {
                let enough = answered.load(Ordering::SeqCst) >= seen + 20;
                (enough
                    || clients
                        .iter()
                        .any(std::thread::ScopedJoinHandle::is_finished))
                .then_some(())
            });
        };
        for number in 1..=5 {
            let version = format!("1.{number}.0");
            let bundle = telling("Echo", &version);
            change(&version, &|| service.deploy(&bundle, ""));
            if number % 2 == 1 {
                change("1.0.0", &|| service.roll_back("Echo", None));
            } else {
                change("1.0.0", &|| service.roll_back("Echo", Some("1.0.0")));
            }
        }
        over.store(true, Ordering::SeqCst);
        for client in clients {
            client.join().expect("no request failed");
        }
    });
    assert_eq!(service.history("Echo").len(), 11);
}
