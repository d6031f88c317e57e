//! Bad requests beside good ones: nobody good suffers, nothing is left.

use crate::support::server::{Controllers, Server, wait_for};
use crate::support::traces;
use crate::table::attacks;
use serde_json::json;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const ECHO: &str = r#"
from magic import Controller, contract

@contract("./contract.yaml")
class Echo(Controller):
    async def execute(self, input):
        return {"echo": input["value"] * 2}
"#;

/// Bad requests, in turn: controller, kind, code, reason.
const BAD: [(&str, &str, &str, &str); 9] = [
    ("Hasty", "loop", "E3001", "none"),
    ("Patient", "allocate", "E3002", "none"),
    ("Patient", "raise", "E3003", "raised"),
    ("Patient", "exit", "E3003", "exited"),
    ("Patient", "hard_exit", "E3003", "exited"),
    ("Patient", "crash", "E3003", "signal"),
    ("Patient", "garbage", "E3003", "protocol"),
    ("Patient", "wrong_output", "E3004", "none"),
    ("Hasty", "fork_bomb", "E3001", "none"),
];
const REQUESTS: usize = 2_000;
const CONCURRENCY: usize = 16;

#[test]
fn a_thousand_bad_requests_among_a_thousand_good_ones() {
    let controllers = attacks(Controllers::new(), "Patient", "60s");
    let controllers =
        attacks(controllers, "Hasty", "300ms").with("Echo", "resources: {timeout: 60s}", ECHO);
    let mounts = traces::mounts();
    let server = Server::start(controllers);
    // The first of each makes what is made once.
    drive(&server, 64);
    settle(&server);
    let (memory, descriptors) = (
        traces::resident_kib(server.pid()),
        traces::descriptors(server.pid()),
    );

    let wrong = drive(&server, REQUESTS);
    assert!(
        wrong.is_empty(),
        "{} wrong answers, for example {:#?}",
        wrong.len(),
        &wrong[..wrong.len().min(5)]
    );

    settle(&server);
    let growth = traces::resident_kib(server.pid()).saturating_sub(memory);
    assert!(
        growth < 48 * 1024,
        "the supervisor grew by {growth} KiB from {memory} KiB"
    );
    // A few more idle connections of the event loop do not matter; two per
    // request would.
    let more = traces::descriptors(server.pid()).saturating_sub(descriptors);
    assert!(more < 100, "{more} more descriptors are open");
    assert_eq!(traces::mounts(), mounts, "mounts are left");

    let (pid, socket) = (server.pid(), server.socket());
    let descendants = traces::descendants(pid);
    assert!(server.stop().success());
    wait_for("every process of the server to be gone", || {
        descendants
            .iter()
            .all(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists())
            .then_some(())
    });
    assert_eq!(
        traces::control_groups(pid),
        Vec::<std::path::PathBuf>::new()
    );
    assert!(!socket.exists(), "the socket is left");
}

/// Waits until only templates and stocked workers are left: three controllers
/// with a template and at most two workers each.
fn settle(server: &Server) {
    wait_for("the processes of requests to be gone", || {
        (traces::descendants(server.pid()).len() <= 9).then_some(())
    });
}

/// Sends requests, every other one bad, and returns what was not as expected.
fn drive(server: &Server, requests: usize) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..CONCURRENCY {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= requests {
                        return;
                    }
                    if let Err(text) = one(server, number) {
                        wrong
                            .lock()
                            .expect("no thread panics with the lock")
                            .push(text);
                    }
                }
            });
        }
    });
    wrong.into_inner().expect("no thread panics with the lock")
}

fn one(server: &Server, number: usize) -> Result<(), String> {
    if number.is_multiple_of(2) {
        let answer = server.execute("Echo", &json!({"value": number}));
        let right = answer.status == 200 && answer.body["result"] == json!({"echo": 2 * number});
        return if right {
            Ok(())
        } else {
            Err(format!("good request {number}: {answer:?}"))
        };
    }
    let (controller, kind, code, reason) = BAD[number / 2 % BAD.len()];
    let answer = server.execute(controller, &json!({"kind": kind}));
    let right = (answer.code(), answer.reason()) == (code, reason);
    if right {
        Ok(())
    } else {
        Err(format!("{kind} ({number}): {answer:?}"))
    }
}
