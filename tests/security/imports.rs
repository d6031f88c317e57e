//! Code that attacks while it is imported: the deploy fails in its code and within its budget, or the version
//! is served by a fresh interpreter per request. What served before goes on serving.

use crate::support::server::{Controllers, Server, wait_for};
use crate::support::traces;
use serde_json::{Value, json};

const TAIL: &str = r#"
from magic import Controller, contract


@contract("./contract.yaml")
class Importing(Controller):
    def execute(self, input):
        SEEN.append(1)
        return {"version": VERSION, "seen": len(SEEN)}
"#;

fn code(version: &str, body: &str) -> String {
    format!("{body}\nSEEN = []\nVERSION = {version:?}\n{TAIL}")
}

fn contract(version: &str) -> String {
    format!(
        "name: Importing\nversion: {version}\ninput: {{type: object}}\noutput: {{type: object}}\n\
         resources: {{memory: 64Mi, timeout: 20s, pids: 8}}\n"
    )
}

/// What becomes of a version that does this while it is imported.
enum Becomes {
    /// Refused with E4002 and this `details.kind`.
    Refused(&'static str),
    /// Served.
    Served,
}
use Becomes::{Refused, Served};

/// Bodies of modules. `os.read(3, …)` takes orders that the runner waits for; `os.write(3, …)` forges notices.
const BODIES: [(&str, Becomes); 21] = [
    (
        "kept = [bytearray(1 << 20) for _ in range(2048)]",
        Refused("budget"),
    ),
    ("raise ValueError('no')", Refused("import")),
    ("import sys\nsys.exit(0)", Refused("exited")),
    ("import os\nos._exit(0)", Refused("ended")),
    ("import os\nos.abort()", Refused("ended")),
    ("import ctypes\nctypes.string_at(0)", Refused("ended")),
    (
        "import os\nos.close(3)\nimport time\ntime.sleep(600)",
        Refused("ended"),
    ),
    (
        "import socket\nsocket.create_connection(('127.0.0.1', 1))",
        Refused("import"),
    ),
    ("open('/magic/controller/left', 'w')", Refused("import")),
    (
        "import subprocess\nsubprocess.run(['/usr/bin/python3'])",
        Refused("import"),
    ),
    (
        "import os\nos.write(3, b'{\"type\":\"failed\",\"kind\":\"import\",\"message\":\"forged\"}')",
        Refused("import"),
    ),
    // Left behind: a thread, descriptors, shared memory, a child.
    (
        "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()",
        Served,
    ),
    ("import os\nleft = os.pipe()", Served),
    ("import socket\nleft = socket.socketpair()", Served),
    ("import mmap\nleft = mmap.mmap(-1, 4096)", Served),
    (
        "import os, signal\nif os.fork() == 0:\n    signal.pause()",
        Served,
    ),
    // Notices that nobody asked for, and that are not notices.
    ("import os\nos.write(3, b'\\xff' * 1000)", Served),
    (
        "import os\nos.write(3, b'{\"type\":\"exited\",\"pid\":1,\"status\":0}')",
        Refused("ended"),
    ),
    ("import os\nos.write(3, b'[' * 60000)", Served),
    (
        "import os\nfor n in range(200):\n    os.write(3, b'{\"type\":\"exited\",\"pid\":%d,\"status\":9}' % n)",
        Refused("ended"),
    ),
    (
        "import os\nos.write(3, b'{\"type\":\"loaded\",\"entry\":\"class\",\"name\":\"x\",\"is_async\":false}')",
        Served,
    ),
];

/// Saves a version and waits until the server has said what became of it.
fn save(server: &Server, version: &str, body: &str) -> Value {
    let folder = server.controllers.path().join("importing");
    // The contract first: the deploy comes once nothing has changed for a moment.
    std::fs::write(folder.join("contract.yaml"), contract(version)).expect("a contract");
    std::fs::write(folder.join("controller.py"), code(version, body)).expect("code");
    server.event(|event| {
        let failed = event["event"] == "failed";
        failed || (event["event"] == "deployed" && event["version"] == version)
    })
}

#[test]
fn a_hostile_import_is_refused_or_contained() {
    try_all(&BODIES);
}

/// The budget of an import is time, too.
#[test]
fn an_import_without_end_is_refused() {
    try_all(&[("import time\ntime.sleep(600)", Refused("budget"))]);
}

fn try_all(bodies: &[(&str, Becomes)]) {
    let controllers = Controllers::new().with("Importing", "", &code("1.0.0", ""));
    let server = Server::start(controllers);
    let mut served = "1.0.0".to_owned();
    for (number, (body, becomes)) in bodies.iter().enumerate() {
        let version = format!("1.1.{number}");
        let event = save(&server, &version, body);
        match becomes {
            Refused(kind) => {
                let found = (&event["code"], &event["details"]["kind"]);
                assert_eq!(found, (&json!("E4002"), &json!(kind)), "{body}: {event}");
            }
            Served => {
                assert_eq!(event["event"], "deployed", "{body}: {event}");
                served = version;
            }
        }
        for _ in 0..3 {
            let answer = server.execute("Importing", &json!({}));
            // Nothing of an earlier request is seen, however the version is served.
            let expected = json!({"version": served, "seen": 1});
            assert_eq!(answer.body["result"], expected, "{body}: {answer:?}");
        }
    }
    let all = traces::descendants(server.pid());
    assert!(server.stop().success());
    crate::probe::wait_until_gone(&all);
}

/// While one controller's import never ends, requests of another and of its own last version are served.
#[test]
fn a_wedged_import_holds_nobody_up() {
    let controllers = Controllers::new().with("Importing", "", &code("1.0.0", ""));
    let server = Server::start(controllers);
    let before = traces::descendants(server.pid());
    let folder = server.controllers.path().join("importing");
    std::fs::write(folder.join("contract.yaml"), contract("1.1.0")).expect("a contract");
    let wedged = "import ctypes\nctypes.CDLL(None).prctl(15, b'wedged')\nwhile True:\n    pass";
    std::fs::write(folder.join("controller.py"), code("1.1.0", wedged)).expect("code");
    wait_for("the import to be under way", || {
        traces::descendants(server.pid())
            .iter()
            .filter(|pid| !before.contains(pid))
            .any(|pid| {
                std::fs::read_to_string(format!("/proc/{pid}/comm"))
                    .is_ok_and(|name| name.trim_end() == "wedged")
            })
            .then_some(())
    });
    for _ in 0..20 {
        let answer = server.execute("Importing", &json!({}));
        assert_eq!(answer.body["result"]["version"], "1.0.0", "{answer:?}");
    }
}
