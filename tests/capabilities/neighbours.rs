//! Two requests of one controller at the same time: neither sees the other's files nor its database session.

use crate::audit::calls_of;
use crate::support::command::{export, migrate};
use crate::support::postgres::Postgres;
use crate::support::server::{Answer, Controllers, Server, wait_for};
use serde_json::{Value, json};

const FILES: &str = include_str!("writing.py");

const WITHOUT: &str = r#"
import os
import tempfile

from magic import CapabilityDenied, Controller, contract


@contract("./contract.yaml")
class Without(Controller):
    async def execute(self, input):
        errors = []
        for folder in ("/tmp", "/var/tmp", "/dev/shm", "/", os.getcwd()):
            try:
                open(os.path.join(folder, "file"), "w").close()
                errors.append(folder)
            except OSError:
                pass
        try:
            tempfile.gettempdir()
            errors.append("tempfile")
        except OSError:
            pass
        try:
            await self.fs.temp()
        except CapabilityDenied as denied:
            return {"written": errors, "code": denied.code}
"#;

fn ask(server: &Server, input: &Value) -> Answer {
    let answer = server.execute("Writing", input);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer
}

/// `fs:temp`: a directory of the request's own, of its size, and gone with it.
#[test]
fn temporary_files_are_the_requests_own() {
    let contract = "capabilities:\n  - fs:temp: { size: 1Mi }\n  - cache:read\n  - cache:write\n\
                    resources: { timeout: 2m, memory: 128Mi }";
    let controllers = Controllers::new()
        .with("Writing", contract, FILES)
        .with("Without", "", WITHOUT);
    let server = Server::start(controllers);
    // Two hold files of the same names while a third looks.
    let hold = |text: &str| json!({"how": "hold", "text": text});
    let (one, two, looked) = std::thread::scope(|scope| {
        let one = scope.spawn(|| ask(&server, &hold("of one")));
        let two = scope.spawn(|| ask(&server, &hold("of two")));
        wait_for("both to hold their files", || {
            let logs = server
                .get("/api/controllers/Writing/logs?limit=1000")
                .body
                .to_string();
            (logs.contains("holding of one") && logs.contains("holding of two")).then_some(())
        });
        let looked = ask(&server, &json!({"how": "look"}));
        ask(&server, &json!({"how": "over"}));
        let joined =
            |running: std::thread::ScopedJoinHandle<'_, Answer>| running.join().expect("no panic");
        (joined(one), joined(two), looked)
    });
    for (answer, text) in [(&one, "of one"), (&two, "of two")] {
        let result = &answer.body["result"];
        assert_eq!(
            (&result["text"], &result["seen"]),
            (&json!(text), &json!(["mine"])),
            "{result}"
        );
    }
    let result = &looked.body["result"];
    assert_eq!(
        (&result["seen"], &result["reached"]),
        (&json!([]), &json!([])),
        "{result}"
    );
    // Nothing is left for those that come later.
    for _ in 0..4 {
        let later = ask(&server, &json!({"how": "look"}));
        let result = &later.body["result"];
        assert_eq!(
            (&result["seen"], &result["reached"]),
            (&json!([]), &json!([])),
            "{result}"
        );
    }
    let request = looked.body["request_id"].as_str().expect("an id");
    let calls = calls_of(&export(server.data.path()), request);
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0]["capability"], "fs:temp");
    assert!(calls[0]["fields"]["path_hash"].is_string(), "{}", calls[0]);

    let used = ask(&server, &json!({"how": "use"})).body["result"].clone();
    for fine in ["fits", "tempfile", "sqlite"] {
        assert_eq!(used[fine], Value::Null, "{fine}: {used}");
    }
    // ENOSPC, for bytes and for files alike.
    for full in ["full", "many"] {
        assert_eq!(used[full], "OSError 28", "{full}: {used}");
    }
    for refused in ["run", "device", "outside", "above"] {
        assert!(used[refused].is_string(), "{refused}: {used}");
    }
    assert_eq!(used["same"], true, "{used}");

    let without = server.execute("Without", &json!({}));
    assert_eq!(
        without.body["result"],
        json!({"written": [], "code": "E2001"}),
        "{}",
        without.body
    );
}

const SETTING: &str = include_str!("setting.py");

/// Nothing can be left behind in a session of the database: what would change its settings, take a lock that outlives the
/// transaction or make a temporary table is refused, and the database has none of it afterwards.
#[test]
fn database_sessions_are_the_requests_own() {
    let postgres = Postgres::start();
    let url = postgres.database("app");
    let environment = [("DATABASE_URL", url.as_str())];
    let data = tempfile::tempdir().expect("a temporary folder");
    migrate(
        data.path(),
        "CREATE TABLE notes (id bigint PRIMARY KEY);",
        &environment,
    );
    let contract = "capabilities: [db:read, db:write, db:rawsql]\nresources: { timeout: 60s }";
    let controllers = Controllers::new().with("Setting", contract, SETTING);
    let server = Server::start_on(data, controllers, &environment, &[]);
    let answer = server.execute("Setting", &json!({}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let result = &answer.body["result"];
    assert_eq!(result["low"], "x", "the twin: {result}");
    let codes = result["codes"].as_array().expect("a list");
    assert_eq!(codes.len(), 12, "{result}");
    assert!(codes.iter().all(|code| code == "E2003"), "{result}");
    // As the database itself sees it, while the runtime's connections are still open.
    let left = "SELECT (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711)
                     + (SELECT count(*) FROM pg_class WHERE relname = 'kept')
                     + (SELECT count(*) FROM pg_stat_activity WHERE datname = 'app' AND state LIKE 'idle in%')";
    assert_eq!(postgres.sql("app", left), "0");
}
