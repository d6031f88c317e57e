//! Class O: one record for every call, with its rule and facts and without secrets; and a log that tells who touched it.

use crate::acting::{acting, request_id, step, steps};
use crate::audit::calls_of;
use crate::support::command::{attempt, export, migrate};
use crate::support::server::{Controllers, Server, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

const TABLES: &str = "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT);";

/// A server that answers every request, or, with `silent`, takes connections and never says a word.
fn neighbour(silent: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for mut stream in listener.incoming().flatten() {
            if !silent {
                // One read holds the whole of a request this small.
                let _ = stream.read(&mut [0; 8192]);
                let _ = stream.write_all(
                    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
                );
            }
            kept.push(stream);
            if !silent {
                kept.clear();
            }
        }
    });
    port
}

fn contract(ports: &[u16], timeout: &str) -> String {
    let hosts: Vec<String> = ports
        .iter()
        .map(|port| format!("\"127.0.0.1:{port}\""))
        .collect();
    format!(
        "capabilities:\n  - db:read: {{ tables: [notes] }}\n  - db:write: {{ tables: [notes] }}\n  - db:rawsql\n  \
         - http:egress: {{ allow: [{}] }}\n  - secrets:read: {{ keys: [API_KEY] }}\n  - queue:publish: {{ queues: [out] }}\n  \
         - queue:subscribe: {{ queues: [out] }}\n  - cache:read: {{ keys: [\"rates:*\"] }}\n  \
         - cache:write: {{ keys: [\"rates:*\"] }}\n  - fs:temp\nresources: {{ timeout: {timeout} }}",
        hosts.join(", ")
    )
}

/// As many records as calls were sent, whatever became of each, and every one says by which rule of which policy.
#[test]
fn there_is_one_record_for_every_call_that_was_sent() {
    let data = tempfile::tempdir().expect("a temporary folder");
    migrate(data.path(), TABLES, &[]);
    let ports = [neighbour(false), neighbour(true)];
    let controllers = acting(Controllers::new(), "Patient", &contract(&ports, "60s"));
    let controllers = acting(controllers, "Hasty", &contract(&ports, "1500ms"));
    let server = Server::start_on(data, controllers, &[("MAGIC_SECRET_API_KEY", "a key")], &[]);
    let answering = format!("http://127.0.0.1:{}/", ports[0]);
    let silent = format!("http://127.0.0.1:{}/", ports[1]);
    let mixed = [
        step("cache.get", json!(["rates:a"])),
        step("cache.get", json!(["prices:a"])),
        step("cache.set", json!(["rates:a", 1])),
        step("db.query", json!(["notes"])),
        step("db.query", json!(["salaries"])),
        step("db.insert", json!(["notes", {"nothing": 1}])),
        step("db.insert", json!(["notes", {"text": "x"}])),
        step("http.get", json!([answering])),
        step("http.get", json!(["https://other.example.org/"])),
        step("secrets.get", json!(["API_KEY"])),
        step("queue.publish", json!(["out", 1])),
        step("queue.publish", json!(["in", 1])),
        step("queue.receive", json!(["out"])),
        step("fs.temp", json!([])),
    ];
    // What was sent is counted here, by what comes back to the controller and by what was ordered.
    let mut sent: BTreeMap<String, usize> = BTreeMap::new();
    let (request, told) = steps(&server, "Patient", &mixed);
    sent.insert(request, told.len());
    let many: Vec<Value> = mixed.iter().cycle().take(140).cloned().collect();
    let answer = server.execute("Patient", &json!({"together": many}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let told = answer.body["result"]["steps"].as_array().expect("steps");
    assert_eq!(told.len(), 140);
    sent.insert(request_id(&answer), told.len());
    // Some of these never come back: the deadline cuts them off.
    let mut cut: Vec<Value> = vec![step("http.get", json!([silent])); 3];
    cut.push(mixed[0].clone());
    let answer = server.execute("Hasty", &json!({"together": cut}));
    assert_eq!(answer.code(), "E3001", "{}", answer.body);
    let cut_off = request_id(&answer);
    sent.insert(cut_off.clone(), cut.len());

    let hash = server.get("/api/policy").body["hash"].clone();
    let records = export(server.data.path());
    for (request, count) in &sent {
        let calls = calls_of(&records, request);
        assert_eq!(calls.len(), *count, "{request}: {calls:#?}");
        let mut numbers: Vec<u64> = calls
            .iter()
            .filter_map(|call| call["fields"]["call"].as_u64())
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(
            numbers.len(),
            *count,
            "a number is missing or twice in {request}"
        );
        for call in &calls {
            assert_eq!(call["policy_hash"], hash, "{call}");
            assert!(call["rule"]["layer"].is_string(), "{call}");
            let denied = call["decision"] == "deny";
            assert!(
                denied || call["rule"]["name"] == "everything-declared",
                "{call}"
            );
            let code = call["code"].as_str().unwrap_or("none");
            assert_eq!(denied, code.starts_with("E2"), "{call}");
        }
    }
    let unfinished = calls_of(&records, &cut_off);
    let unfinished = unfinished
        .iter()
        .filter(|call| call["fields"]["unfinished"] == true || call["code"] == "E3001");
    assert_eq!(unfinished.count(), 3);
    let calls = records
        .iter()
        .filter(|record| record["kind"] == "call")
        .count();
    assert_eq!(calls, sent.values().sum::<usize>());
}

/// The facts of each capability, as the documentation lists them.
#[test]
fn records_carry_the_facts_of_their_capability() {
    let data = tempfile::tempdir().expect("a temporary folder");
    migrate(data.path(), TABLES, &[]);
    let port = neighbour(false);
    let controllers = acting(Controllers::new(), "Patient", &contract(&[port], "60s"));
    let server = Server::start_on(data, controllers, &[("MAGIC_SECRET_API_KEY", "a key")], &[]);
    let url = format!("http://127.0.0.1:{port}/path?q=private");
    let rows: &[(Value, &str, Value, &[&str])] = &[
        (
            step("db.query", json!(["notes", {"id": 1}])),
            "db:read",
            json!({"table": "notes"}),
            &["query_hash"],
        ),
        (
            step("db.count", json!(["notes"])),
            "db:read",
            json!({"table": "notes"}),
            &["query_hash"],
        ),
        (
            step("db.insert", json!(["notes", {"text": "x"}])),
            "db:write",
            json!({"table": "notes", "operation": "insert", "row_count": 1}),
            &[],
        ),
        (
            step("db.update", json!(["notes", {"text": "y"}, {"text": "x"}])),
            "db:write",
            json!({"table": "notes", "operation": "update", "row_count": 1}),
            &[],
        ),
        (
            step("db.delete", json!(["notes", {"id": 77}])),
            "db:write",
            json!({"table": "notes", "operation": "delete", "row_count": 0}),
            &[],
        ),
        (
            step("db.raw", json!(["SELECT text FROM notes"])),
            "db:rawsql",
            json!({}),
            &["query_text", "query_hash"],
        ),
        (
            step("http.get", json!([url])),
            "http:egress",
            json!({"host": "127.0.0.1", "method": "GET", "status": 200}),
            &[],
        ),
        (
            step("secrets.get", json!(["API_KEY"])),
            "secrets:read",
            json!({"key_name": "API_KEY"}),
            &[],
        ),
        (
            step("queue.publish", json!(["out", 1])),
            "queue:publish",
            json!({"queue_name": "out", "message_count": 1}),
            &[],
        ),
        (
            step("queue.receive", json!(["out"])),
            "queue:subscribe",
            json!({"queue_name": "out"}),
            &[],
        ),
        (
            step("cache.get", json!(["rates:a"])),
            "cache:read",
            json!({"key_pattern": "rates:*"}),
            &[],
        ),
        (
            json!({"call": "cache.set", "args": ["rates:a", 1], "named": {"ttl": 60}}),
            "cache:write",
            json!({"key": "rates:a", "ttl": 60_000}),
            &[],
        ),
        (
            step("cache.delete", json!(["rates:a"])),
            "cache:write",
            json!({"key": "rates:a"}),
            &[],
        ),
        (
            step("fs.temp", json!([])),
            "fs:temp",
            json!({}),
            &["operation", "path_hash"],
        ),
    ];
    let order: Vec<Value> = rows.iter().map(|row| row.0.clone()).collect();
    let (request, told) = steps(&server, "Patient", &order);
    let calls = calls_of(&export(server.data.path()), &request);
    assert_eq!(calls.len(), rows.len());
    for (((what, capability, facts, present), call), told) in rows.iter().zip(&calls).zip(told) {
        assert!(told["code"].is_null(), "{what}: {told}");
        assert_eq!(call["capability"], *capability, "{call}");
        for (name, value) in facts.as_object().expect("facts") {
            let found = &call["fields"][name];
            // A queue or key is named with its space.
            let named = found
                .as_str()
                .zip(value.as_str())
                .is_some_and(|(found, value)| found.ends_with(value));
            assert!(found == value || named, "{what}: {name} in {call}");
        }
        for name in *present {
            assert!(call["fields"][name].is_string(), "{what}: {name} in {call}");
        }
        assert!(
            !call.to_string().contains("private"),
            "a query string is nobody's business: {call}"
        );
    }
}

const SECRET: &str = "s3cr3t/with+odd=chars&\"quote";

const LEAKING: &str = r#"
import base64
import traceback
import urllib.parse

from magic import Controller, ControllerError, MagicError, contract


@contract("./contract.yaml")
class Leaking(Controller):
    async def execute(self, input):
        secret = await self.secrets.get("API_KEY")
        raw = secret.encode()
        forms = [
            secret,
            base64.b64encode(raw).decode(),
            base64.b64encode(b"user:" + raw).decode(),
            base64.urlsafe_b64encode(raw).decode(),
            urllib.parse.quote(secret, safe=""),
            urllib.parse.quote_plus(secret),
            raw.hex(),
            repr(secret),
        ]
        for form in forms:
            print("printed", form)
            self.log.info("logged " + form, field=form)
            for call in (
                lambda: self.db.query(form),
                lambda: self.db.query("notes", {form: 1}),
                lambda: self.cache.get(form),
                lambda: self.cache.set("a", 1, ttl=-1) if False else self.queue.publish(form, 1),
                lambda: self.secrets.get(form),
                lambda: self.http.get("https://nowhere.invalid/" + form),
                lambda: self.http.get("https://" + form + ".invalid/"),
                lambda: self.db.raw("SELECT '" + form.replace("'", "''") + "' FROM nowhere"),
            ):
                try:
                    await call()
                except (MagicError, ValueError):
                    print(traceback.format_exc())
        how = input["how"]
        if how == "returns":
            return {"length": len(secret)}
        if how == "own":
            raise ControllerError(" ".join(forms), code="LEAK", details={form: form for form in forms})
        if how == "denied":
            await self.cache.get(forms[input.get("form", 0)])
        raise RuntimeError(" ".join(forms))
"#;

/// What a secret looks like in the notations that honest programs use.
fn forms() -> Vec<String> {
    let hex: String = SECRET.bytes().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = SECRET
        .bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect();
    let escaped = json!(SECRET).to_string();
    vec![
        SECRET.to_owned(),
        escaped.trim_matches('"').to_owned(),
        percent,
        hex,
        // Base64 of the value, and of "user:" before it from the first whole group on.
        "czNjcjN0L3dpdGgrb2RkPWNoYXJz".to_owned(),
        "zM2NyM3Qvd2l0aCtvZGQ9Y2hhcnM".to_owned(),
        "czNjcjN0L3dpdGgrb2RkPWNoYXJzJiJxdW90ZQ".to_owned(),
        // And no long piece of it either.
        "with+odd=chars".to_owned(),
    ]
}

/// A secret that a controller prints, logs, raises and misuses in every notation is in nothing that is kept or answered.
#[test]
fn secrets_are_in_no_record_no_log_and_no_error() {
    let contract = "capabilities: [db:read, db:rawsql, http:egress, {secrets:read: {keys: [API_KEY]}}, \
                    cache:read, cache:write, queue:publish]\nresources: { timeout: 60s }";
    let data = tempfile::tempdir().expect("a temporary folder");
    migrate(data.path(), TABLES, &[]);
    let controllers = Controllers::new().with("Leaking", contract, LEAKING);
    let server = Server::start_on(data, controllers, &[("MAGIC_SECRET_API_KEY", SECRET)], &[]);
    let mut kept = String::new();
    for (how, code) in [
        ("returns", "none"),
        ("raises", "E3003"),
        ("own", "E3003"),
        ("denied", "E3003"),
    ] {
        let answer = server.execute("Leaking", &json!({"how": how}));
        assert_eq!(answer.code(), code, "{how}: {}", answer.body);
        if how == "returns" {
            // The twin: the controller has it.
            assert_eq!(answer.body["result"]["length"], SECRET.len());
        }
        kept.push_str(&answer.body.to_string());
    }
    let logs = wait_for("the printed lines", || {
        let logs = server
            .get("/api/controllers/Leaking/logs?limit=5000")
            .body
            .to_string();
        logs.contains("printed").then_some(logs)
    });
    kept.push_str(&logs);
    kept.push_str(&server.get("/api/audit?limit=1000").body.to_string());
    for record in export(server.data.path()) {
        kept.push_str(&record.to_string());
        kept.push('\n');
    }
    let lowered = kept.to_ascii_lowercase();
    for form in forms() {
        let found = lowered.find(&form.to_ascii_lowercase());
        let around = found.map(|place| {
            let (from, to) = (
                lowered.floor_char_boundary(place.saturating_sub(200)),
                lowered.ceil_char_boundary(place + 200),
            );
            lowered.get(from..to)
        });
        assert!(found.is_none(), "{form} in: {around:?}");
    }
    assert!(kept.contains("[secret API_KEY]"), "nothing was taken out");
}

/// What is done to the lines of a log.
type Change<'a> = Box<dyn Fn(Vec<String>) -> Vec<String> + 'a>;

/// A copy of a log with one change, and what verification says of it.
fn verified(data: &Path, change: impl Fn(Vec<String>) -> Vec<String>) -> (bool, String) {
    let copy = tempfile::tempdir().expect("a temporary folder");
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .arg(data.join("data"))
        .arg(copy.path())
        .status();
    assert!(copied.expect("cp runs").success());
    let folder = copy.path().join("data/audit");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the log")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "jsonl")
        })
        .collect();
    files.sort();
    let last = files.pop().expect("a file");
    let lines = std::fs::read_to_string(&last).expect("our own file");
    let mut text = change(lines.lines().map(str::to_owned).collect()).join("\n");
    text.push('\n');
    std::fs::write(&last, text).expect("our own file");
    let output = attempt(copy.path(), &["audit", "verify"], &[]);
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

fn number(line: &str) -> u64 {
    let entry: Value = serde_json::from_str(line).expect("a JSON line");
    entry["seq"].as_u64().expect("a number")
}

/// The log of a real server verifies, and each change is named by the first record that it touches.
#[test]
fn verification_names_the_first_record_that_was_touched() {
    let server = Server::start(acting(
        Controllers::new(),
        "Busy",
        "capabilities: [cache:read]",
    ));
    for key in ["a", "b", "c", "d"] {
        steps(&server, "Busy", &[step("cache.get", json!([key]))]);
    }
    // The head follows the log by a few milliseconds; what it does not name yet, it cannot miss.
    wait_for("the head to name the last record", || {
        let output = attempt(server.data.path(), &["audit", "verify", "--json"], &[]);
        let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let verified = &told["verified"];
        (verified["head"] == verified["last"]).then_some(())
    });
    let (data, _controllers) = server.kill();
    let data = data.path();
    let (valid, said) = verified(data, |lines| lines);
    assert!(valid, "{said}");
    let call = |lines: &[String]| {
        let calls = |line: &&String| line.contains("\"kind\":\"call\"");
        let found = lines
            .iter()
            .filter(calls)
            .nth(1)
            .expect("two calls")
            .clone();
        lines
            .iter()
            .position(|line| *line == found)
            .expect("it is there")
    };
    let expected = std::cell::Cell::new(0);
    let expects = |number: u64| expected.set(number);
    let changes: [(&str, Change<'_>); 4] = [
        (
            "edit",
            Box::new(|mut lines| {
                let place = call(&lines);
                expects(number(&lines[place]));
                lines[place] =
                    lines[place].replace("\"decision\":\"allow\"", "\"decision\":\"deny\"");
                lines
            }),
        ),
        (
            "delete",
            Box::new(|mut lines| {
                let place = call(&lines);
                expects(number(&lines[place]));
                lines.remove(place);
                lines
            }),
        ),
        (
            "reorder",
            Box::new(|mut lines| {
                let place = call(&lines);
                expects(number(&lines[place]));
                lines.swap(place, place + 1);
                lines
            }),
        ),
        (
            "cut tail",
            Box::new(|mut lines| {
                let cut = lines.pop().expect("a line");
                expects(number(&cut));
                lines
            }),
        ),
    ];
    for (what, change) in &changes {
        let (valid, said) = verified(data, change);
        assert!(!valid, "{what} was not seen");
        let bad = format!("first bad record: {}\n", expected.get());
        assert!(said.contains(&bad), "{what}: {bad:?} and not {said:?}");
    }
}
