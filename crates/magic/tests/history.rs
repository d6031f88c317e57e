//! What is kept of the past: executions, log lines, nodes; after a restart, and on other nodes.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::command::run;
use crate::folder::{ANY, Folder};
use crate::http_client::{Answer, Call, Connection};
use crate::postgres::Postgres;
use crate::server::Server;

const ADMIN_KEY: &str = "an-administrators-key-of-many-characters";
const SERVE: &[&str] = &["serve", "--json", "--listen", "127.0.0.1:0"];

/// Writes a line, makes a call that is allowed and one that is not, and fails if it is told to.
const WRITER: &str = "\
self.log.info(input['message'], number=1)
await self.cache.set('k', 1)
try:
    await self.db.query('somewhere')
except Exception:
    pass
if input.get('fail'):
    raise ValueError('told to')
return {}";

fn writer() -> Folder {
    let folder = Folder::new();
    let contract = format!("{ANY}capabilities: [cache:write]\n");
    folder.controller("Writer", &contract, WRITER);
    folder
}

fn serve(folder: &Folder, more: &[(&str, &str)]) -> Server {
    let environment = [more, &[("ADMIN_API_KEY", ADMIN_KEY)]].concat();
    Server::start_with(folder, SERVE, &environment)
}

fn with_key(call: Call, key: &str) -> Call {
    call.header("X-API-Key", key)
}

fn get(server: &Server, path: &str) -> Answer {
    server.call(&with_key(Call::get(path), ADMIN_KEY))
}

fn write(server: &Server, request_id: &str, input: &Value) -> Answer {
    let call = Call::post("/api/execute/Writer", &input.to_string());
    server.call(&with_key(call, ADMIN_KEY).header("X-Request-ID", request_id))
}

fn end(mut server: Server) {
    server.signal(Signal::TERM);
    assert!(server.wait().success());
}

fn messages(logs: &Value) -> Vec<String> {
    let lines = logs["lines"].as_array().expect("lines");
    lines
        .iter()
        .filter(|line| line["stream"] == "log")
        .map(|line| line["message"].as_str().expect("text").to_owned())
        .collect()
}

/// An execution is told with its outcome, its calls and what it used, also after a restart, and only to who may see its controller.
#[test]
fn executions_are_told() {
    let folder = writer();
    let server = serve(&folder, &[]);
    assert_eq!(write(&server, "good", &json!({"message": "x"})).status, 200);
    let failed = write(&server, "bad", &json!({"message": "x", "fail": true}));
    failed.assert_error(500, "E3003");
    let told = get(&server, "/api/executions/good").json();
    let one = &told["executions"][0];
    assert_eq!(
        (&one["controller"], &one["version"], &one["outcome"]),
        (&json!("Writer"), &json!("1.0.0"), &json!("ok")),
        "{told}"
    );
    assert_eq!(one["effects"], "committed", "{told}");
    assert!(one["duration_us"].as_i64() > Some(0), "{told}");
    assert!(one["cpu_ms"].as_i64() > Some(0), "{told}");
    assert!(one["peak_memory_bytes"].as_i64() > Some(100_000), "{told}");
    let calls = one["calls"].as_array().expect("calls");
    let ends: Vec<_> = calls
        .iter()
        .map(|call| (call["decision"].as_str(), call["code"].as_str()))
        .collect();
    assert_eq!(
        ends,
        [(Some("allow"), None), (Some("deny"), Some("E2001"))],
        "{told}"
    );
    assert!(calls.iter().all(|call| call["start_us"].is_u64()), "{told}");
    // Nothing of what was written or asked is in it.
    assert!(!told.to_string().contains("somewhere"), "{told}");

    for (controllers, status) in [(vec!["Writer"], 200), (vec!["Other"], 404)] {
        let wanted = json!({"name": "bound", "roles": ["read"], "controllers": controllers});
        let call = with_key(Call::post("/api/keys", &wanted.to_string()), ADMIN_KEY);
        let key = server.call(&call).json()["key"].clone();
        let key = key.as_str().expect("a key");
        let asked = server.call(&with_key(Call::get("/api/executions/good"), key));
        assert_eq!(asked.status, status);
        let nothing = server.call(&with_key(Call::get("/api/executions/none"), key));
        let refused = nothing.assert_error(404, "E4004");
        if status == 404 {
            let hidden = asked.assert_error(404, "E4004");
            assert_eq!(hidden["error"]["message"], refused["error"]["message"]);
        }
    }
    end(server);

    let server = serve(&folder, &[]);
    let again = get(&server, "/api/executions/good").json();
    assert_eq!(again, told);
    let bad = run(&folder, &["executions", "bad"]).with_status(0);
    assert!(bad.stdout.contains("E3003"), "{bad:?}");
    assert!(bad.stdout.contains("deny"), "{bad:?}");
}

/// Lines outlive a restart, and a stream goes on after it where it was.
#[test]
fn lines_outlive_a_restart() {
    let folder = writer();
    let server = serve(&folder, &[]);
    write(&server, "r1", &json!({"message": "one"}));
    write(&server, "r2", &json!({"message": "two"}));
    let logs = get(&server, "/api/controllers/Writer/logs").json();
    assert_eq!(messages(&logs), ["one", "two"], "{logs}");
    assert_eq!(logs["source"], "state");
    let first = logs["lines"]
        .as_array()
        .and_then(|lines| lines.iter().find(|line| line["message"] == "one"))
        .expect("a line");
    let cursor = first["cursor"].as_i64().expect("a number");
    end(server);

    let server = serve(&folder, &[]);
    write(&server, "r3", &json!({"message": "three"}));
    let logs = get(&server, "/api/controllers/Writer/logs").json();
    assert_eq!(messages(&logs), ["one", "two", "three"], "{logs}");
    let of_two = get(&server, "/api/controllers/Writer/logs?request=r2").json();
    assert_eq!(messages(&of_two), ["two"], "{of_two}");
    let mut stream = Connection::open(server.address());
    let follow = with_key(
        Call::get("/api/controllers/Writer/logs?follow=true"),
        ADMIN_KEY,
    );
    stream.write(&follow.header("Last-Event-ID", &cursor.to_string()).bytes());
    let seen = stream.read_until("three");
    assert!(seen.contains("two") && !seen.contains("\"one\""), "{seen}");
    let shown = run(&folder, &["logs", "Writer", "--request", "r2"]).with_status(0);
    assert!(
        shown.stdout.contains("two") && !shown.stdout.contains("three"),
        "{shown:?}"
    );
}

/// What one node wrote, the other one shows; without the state each shows its own.
#[test]
fn nodes_tell_of_each_other() {
    let mut postgres = Postgres::start();
    let url = postgres.database("state");
    let (one, two) = (writer(), writer());
    let start = |folder, node| serve(folder, &[("MAGIC_STORE_URL", &url), ("MAGIC_NODE", node)]);
    let (first, second) = (start(&one, "first"), start(&two, "second"));
    write(&first, "r1", &json!({"message": "from the first"}));
    // The lines of the first node are there when it says so itself.
    let own = get(&first, "/api/controllers/Writer/logs").json();
    assert_eq!(messages(&own), ["from the first"], "{own}");
    write(&second, "r2", &json!({"message": "from the second"}));
    let all = get(&second, "/api/controllers/Writer/logs").json();
    assert_eq!(
        messages(&all),
        ["from the first", "from the second"],
        "{all}"
    );
    assert_eq!(get(&first, "/api/executions/r1").status, 200);
    let told = get(&second, "/api/executions/r1").json();
    assert_eq!(told["executions"][0]["node"], "first", "{told}");
    let nodes = get(&second, "/api/nodes").json();
    let names: Vec<_> = nodes["nodes"]
        .as_array()
        .expect("nodes")
        .iter()
        .map(|node| (node["name"].as_str(), node["policy"].is_string()))
        .collect();
    assert_eq!(
        names,
        [(Some("first"), true), (Some("second"), true)],
        "{nodes}"
    );
    let listed = run(&two, &["nodes"]).with_status(0);
    assert!(listed.stdout.contains("first"), "{listed:?}");

    postgres.stop();
    assert_eq!(
        write(&second, "r3", &json!({"message": "alone"})).status,
        200
    );
    let own = get(&second, "/api/controllers/Writer/logs").json();
    assert_eq!(messages(&own), ["from the second", "alone"], "{own}");
    assert_eq!(own["source"], "memory");
    postgres.resume();
}
