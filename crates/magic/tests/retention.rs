//! What is old is forgotten by itself, on a running server, and what is not stays.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::folder::{ANY, Folder};
use crate::http_client::{Answer, Call};
use crate::server::Server;

const ADMIN_KEY: &str = "an-administrators-key-of-many-characters";
const SERVE: &[&str] = &["serve", "--json", "--listen", "127.0.0.1:0"];

/// The first sweep comes half a minute after the start; on a machine that stands still, later.
const PATIENCE: Duration = Duration::from_secs(300);

/// Makes a node that was last heard, and a bundle that was last put, when computers began to count; no version has the bundle.
const AGE: &str = "\
import sqlite3, sys
state = sqlite3.connect(sys.argv[1])
state.execute(\"INSERT INTO nodes (name, program, policy, generation, at) VALUES ('gone', '0', '0', 0, 0)\")
state.execute(\"INSERT INTO bundles (digest, size, created_at, put_at, bytes) VALUES ('unused', 0, 0, 0, x'')\")
state.commit()
";

/// How many there are of the bundle.
const COUNT: &str = "\
import sqlite3, sys
state = sqlite3.connect(sys.argv[1])
print(state.execute(\"SELECT count(*) FROM bundles WHERE digest = 'unused'\").fetchone()[0])
";

fn sqlite(program: &str, folder: &Folder) -> String {
    let state = folder.path().join("data/state.db");
    assert!(Path::new(&state).exists());
    let output = Command::new("python3")
        .args(["-c", program])
        .arg(state)
        .output()
        .expect("Python runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn serve(folder: &Folder, retention: &str) -> Server {
    let environment = [
        ("ADMIN_API_KEY", ADMIN_KEY),
        ("MAGIC_LOG_RETENTION", retention),
        ("MAGIC_EXECUTION_RETENTION", retention),
    ];
    Server::start_with(folder, SERVE, &environment)
}

fn ask(server: &Server, call: Call) -> Answer {
    server.call(&call.header("X-API-Key", ADMIN_KEY))
}

/// A server that ran a controller once, was restarted, and has something old in its state.
fn aged(retention: &str) -> (Folder, Server) {
    let folder = Folder::new();
    folder.controller("Writer", ANY, "self.log.info('kept or not')\nreturn {}");
    let mut server = serve(&folder, "30d");
    let run = Call::post("/api/execute/Writer", "{}").header("X-Request-ID", "once");
    assert_eq!(ask(&server, run).status, 200);
    // What this node wrote is in the state once it says so.
    assert_eq!(told(&server), (true, true));
    server.signal(Signal::TERM);
    assert!(server.wait().success());
    sqlite(AGE, &folder);
    let server = serve(&folder, retention);
    (folder, server)
}

/// Whether the line and the execution are still told.
fn told(server: &Server) -> (bool, bool) {
    let logs = ask(server, Call::get("/api/controllers/Writer/logs")).json();
    assert_eq!(logs["source"], "state", "{logs}");
    let execution = ask(server, Call::get("/api/executions/once"));
    assert!(
        matches!(execution.status, 200 | 404),
        "{}",
        execution.json()
    );
    let lines = logs["lines"].as_array().expect("lines");
    let kept = lines.iter().any(|line| line["message"] == "kept or not");
    (kept, execution.status == 200)
}

/// One server keeps things for a second, its twin for a month. Both forget the node and the bundle, which tells that they have swept.
#[test]
fn what_is_too_old_goes_by_itself_and_the_rest_stays() {
    let (short, long) = (aged("1s"), aged("30d"));
    for (folder, server) in [&short, &long] {
        assert_eq!(sqlite(COUNT, folder), "1");
        let began = Instant::now();
        loop {
            let nodes = ask(server, Call::get("/api/nodes")).json();
            let listed = nodes["nodes"].as_array().expect("nodes");
            if listed.iter().all(|node| node["name"] != json!("gone")) {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "nothing is swept: {nodes}");
            std::thread::park_timeout(Duration::from_millis(200));
        }
        assert_eq!(sqlite(COUNT, folder), "0");
    }
    assert_eq!(told(&short.1), (false, false));
    assert_eq!(told(&long.1), (true, true));
}
