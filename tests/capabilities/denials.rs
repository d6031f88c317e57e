//! Every refusal of a capability, and beside each what is allowed.
//!
//! A row is made twice: caught, where the controller must see the same code, layer, rule and line that the
//! caller gets when it is not caught. Each is one record, and the permitted twin is one, too.

use crate::acting::{acting, request_id, step, steps};
use crate::audit::calls_of;
use crate::support::command::{export, migrate};
use crate::support::server::{Controllers, Server};
use serde_json::{Value, json};

/// Everything is allowed but one target of each capability, and raw SQL for one controller.
const POLICY: &str = r#"name: house
environment: development
limits: { rows: 50 }
network: { classes: [], ranges: [] }
rules:
  - { name: everything, effect: allow, capabilities: ["*"] }
  - { name: no-sql, effect: deny, capabilities: ["db:rawsql"], controllers: [Listed] }
  - { name: salaries-are-private, effect: deny, capabilities: ["db:read", "db:write"], resources: ["salaries*"], advice: "ask payroll" }
  - { name: one-host-less, effect: deny, capabilities: ["http:egress"], resources: ["denied.example.org"] }
  - { name: one-key-less, effect: deny, capabilities: ["secrets:read"], resources: [ROOT_KEY] }
  - { name: one-queue-less, effect: deny, capabilities: ["queue:publish", "queue:subscribe"], resources: [payroll] }
  - { name: one-entry-less, effect: deny, capabilities: ["cache:read", "cache:write"], resources: ["rates:secret*"] }
"#;

const TABLES: &str = "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT);
CREATE TABLE salaries (id INTEGER PRIMARY KEY);
CREATE TABLE other (id INTEGER PRIMARY KEY);
INSERT INTO notes VALUES (1, 'one');";

/// As much as a contract can list.
const LISTED: &str = r#"
capabilities:
  - db:read: { tables: [notes] }
  - db:write: { tables: [notes], max_rows: 2 }
  - http:egress: { allow: ["api.example.org", "10.1.2.3:8080", "127.0.0.1:9"], methods: [GET] }
  - secrets:read: { keys: [API_KEY] }
  - queue:publish: { queues: [invoices] }
  - queue:subscribe: { queues: [invoices] }
  - cache:read: { keys: ["rates:*"] }
  - cache:write: { keys: ["rates:*"] }
output: { type: object, not: { required: [unexpected] } }
resources: { timeout: 60s }
"#;

/// The same capabilities without any list.
const BARE: &str = "
capabilities: [db:read, db:write, db:rawsql, http:egress, secrets:read, queue:publish, queue:subscribe, cache:read, cache:write, fs:temp]
resources: { timeout: 60s }
";

/// Nothing at all.
const NOTHING: &str = "resources: { timeout: 60s }";

fn serve() -> Server {
    let data = tempfile::tempdir().expect("a temporary folder");
    let policy = data.path().join("policy.yaml");
    std::fs::write(&policy, POLICY).expect("our own file");
    migrate(data.path(), TABLES, &[]);
    let controllers = acting(Controllers::new(), "Listed", LISTED);
    let controllers = acting(controllers, "Bare", BARE);
    let controllers = acting(controllers, "Nothing", NOTHING);
    let environment = [
        ("MAGIC_POLICY", policy.to_str().expect("UTF-8")),
        ("MAGIC_SECRET_API_KEY", "key of the interface"),
        ("MAGIC_SECRET_ROOT_KEY", "key of the house"),
    ];
    Server::start_on(data, controllers, &environment, &[])
}

/// A refused call, who refuses it, and a call of the same controller, or of another, that is allowed.
struct Row {
    controller: &'static str,
    refused: Value,
    code: &'static str,
    layer: &'static str,
    /// The rule that is named, if any is.
    rule: Option<&'static str>,
    /// A part of the line that would allow it; nothing where no line could.
    line: Option<&'static str>,
    twin: (&'static str, Value),
}

fn undeclared(call: &str, arguments: Value, line: &'static str) -> Row {
    Row {
        controller: "Nothing",
        refused: step(call, arguments.clone()),
        code: "E2001",
        layer: "contract",
        rule: None,
        line: Some(line),
        twin: ("Bare", step(call, arguments)),
    }
}

fn denied(
    call: &str,
    arguments: Value,
    rule: &'static str,
    line: &'static str,
    twin: Value,
) -> Row {
    Row {
        controller: "Bare",
        refused: step(call, arguments),
        code: "E2002",
        layer: "policy",
        rule: Some(rule),
        line: Some(line),
        twin: ("Bare", step(call, twin)),
    }
}

fn unlisted(call: &str, arguments: Value, line: &'static str, twin: Value) -> Row {
    Row {
        controller: "Listed",
        refused: step(call, arguments),
        code: "E2003",
        layer: "contract",
        rule: None,
        line: Some(line),
        twin: ("Listed", step(call, twin)),
    }
}

fn exhausted(controller: &'static str, refused: Value, budget: &'static str, twin: Value) -> Row {
    Row {
        controller,
        refused,
        code: "E2004",
        layer: "budget",
        rule: Some(budget),
        line: None,
        twin: (controller, twin),
    }
}

/// Allowed, whatever became of it: what is refused has a code of its own.
fn is_allowed(told: &Value) -> bool {
    told["code"]
        .as_str()
        .is_none_or(|code| !code.starts_with("E2"))
}

/// A step that was made: in which request, as which of its calls, and what came of it.
struct Made {
    request: String,
    position: usize,
    told: Value,
}

impl Made {
    fn record(&self, records: &[Value]) -> Value {
        let calls = calls_of(records, &self.request);
        let number = self.position as u64 + 1;
        let mut found = calls
            .iter()
            .filter(|record| record["fields"]["call"] == number);
        match (found.next(), found.next()) {
            (Some(record), None) => record.clone(),
            _ => panic!("call {number} of {calls:#?}"),
        }
    }
}

/// Makes all steps, those of one controller in one request, and returns them in the order of the rows.
fn make(server: &Server, orders: &[(&'static str, &Value)]) -> Vec<Made> {
    let mut made: Vec<Option<Made>> = orders.iter().map(|_| None).collect();
    let mut controllers: Vec<&str> = orders.iter().map(|(controller, _)| *controller).collect();
    controllers.sort_unstable();
    controllers.dedup();
    for controller in controllers {
        let (places, chosen): (Vec<usize>, Vec<Value>) = orders
            .iter()
            .enumerate()
            .filter(|(_, (one, _))| *one == controller)
            .map(|(place, (_, step))| (place, (*step).clone()))
            .unzip();
        let (request, told) = steps(server, controller, &chosen);
        assert_eq!(told.len(), chosen.len());
        for (position, (place, told)) in places.into_iter().zip(told).enumerate() {
            let request = request.clone();
            made[place] = Some(Made {
                request,
                position,
                told,
            });
        }
    }
    made.into_iter()
        .map(|one| one.expect("every step was made"))
        .collect()
}

fn check(server: &Server, rows: &[Row]) {
    // Caught, the controller sees who refused, and what would allow it.
    let orders: Vec<_> = rows
        .iter()
        .map(|row| (row.controller, &row.refused))
        .collect();
    let caught = make(server, &orders);
    // Not caught, the caller sees the same.
    let mut uncaught = Vec::new();
    for (row, made) in rows.iter().zip(&caught) {
        let (what, told) = (&row.refused, &made.told);
        assert_eq!(told["code"], row.code, "{what}: {told}");
        assert_eq!(told["layer"], row.layer, "{what}: {told}");
        assert_eq!(told["rule"].as_str(), row.rule, "{what}: {told}");
        match (row.line, told["line"].as_str()) {
            (None, None) => {}
            (Some(part), Some(line)) => assert!(line.contains(part), "{what}: {line}"),
            (_, line) => panic!("{what}: {line:?}"),
        }
        let answer = server.execute(row.controller, &json!({"uncaught": what}));
        assert_eq!(answer.status, 403, "{what}: {}", answer.body);
        assert_eq!(answer.code(), row.code, "{what}: {}", answer.body);
        for name in ["layer", "rule", "line"] {
            let detail = &answer.body["error"]["details"][name];
            assert_eq!(*detail, told[name], "{what}: {name}");
        }
        uncaught.push(Made {
            request: request_id(&answer),
            position: 0,
            told: told.clone(),
        });
    }
    // The permitted twins.
    let orders: Vec<_> = rows.iter().map(|row| (row.twin.0, &row.twin.1)).collect();
    let twins = make(server, &orders);
    for ((controller, twin), made) in orders.iter().zip(&twins) {
        let told = &made.told;
        assert!(is_allowed(told), "{twin} on {controller}: {told}");
    }
    // One record each, and no other.
    let records = export(server.data.path());
    for made in caught.iter().chain(&uncaught).zip(rows.iter().chain(rows)) {
        let (made, row) = made;
        let (what, record) = (&row.refused, made.record(&records));
        assert_eq!(record["decision"], "deny", "{what}: {record}");
        assert_eq!(record["code"], row.code, "{what}: {record}");
        assert_eq!(record["rule"]["layer"], row.layer, "{what}: {record}");
        assert_eq!(
            record["rule"]["name"].as_str(),
            row.rule,
            "{what}: {record}"
        );
        assert_eq!(
            record["rule"]["line"], made.told["line"],
            "{what}: {record}"
        );
        assert!(record["policy_hash"].is_string(), "{what}: {record}");
    }
    for (made, (_, twin)) in twins.iter().zip(&orders) {
        let record = made.record(&records);
        assert_eq!(record["decision"], "allow", "{twin}: {record}");
        assert_eq!(record["rule"]["name"], "everything", "{twin}: {record}");
    }
    let calls = records
        .iter()
        .filter(|record| record["kind"] == "call")
        .count();
    assert_eq!(calls, 3 * rows.len());
}

/// E2001, E2002 and E2003: who refuses names itself, and the line that would allow the call.
#[test]
fn refusals_name_layer_rule_and_line_and_their_twins_pass() {
    let server = serve();
    let row = json!({"text": "two"});
    let lookup = json!(["https://nowhere.invalid/"]);
    check(
        &server,
        &[
            undeclared("db.query", json!(["notes"]), "- db:read"),
            undeclared("db.count", json!(["notes"]), "- db:read"),
            undeclared("db.query_one", json!(["notes"]), "- db:read"),
            undeclared("db.insert", json!(["notes", {"text": "x"}]), "- db:write"),
            undeclared(
                "db.update",
                json!(["notes", {"text": "x"}, {"id": 1}]),
                "- db:write",
            ),
            undeclared("db.delete", json!(["notes", {"id": 99}]), "- db:write"),
            undeclared("db.raw", json!(["SELECT 1"]), "- db:rawsql"),
            undeclared("http.get", lookup.clone(), "- http:egress"),
            undeclared("secrets.get", json!(["API_KEY"]), "- secrets:read"),
            undeclared("queue.publish", json!(["invoices", 1]), "- queue:publish"),
            undeclared("queue.receive", json!(["invoices"]), "- queue:subscribe"),
            undeclared(
                "queue.ack",
                json!(["invoices", "receipt"]),
                "- queue:subscribe",
            ),
            undeclared("cache.get", json!(["rates:a"]), "- cache:read"),
            undeclared("cache.set", json!(["rates:a", 1]), "- cache:write"),
            undeclared("cache.delete", json!(["rates:a"]), "- cache:write"),
            undeclared("fs.temp", json!([]), "- fs:temp"),
            denied(
                "db.query",
                json!(["salaries"]),
                "salaries-are-private",
                "except: [Bare]",
                json!(["notes"]),
            ),
            denied(
                "db.insert",
                json!(["salaries", {"id": 1}]),
                "salaries-are-private",
                "except: [Bare]",
                json!(["other", {"id": 1}]),
            ),
            denied(
                "http.get",
                json!(["https://denied.example.org/"]),
                "one-host-less",
                "except: [Bare]",
                lookup,
            ),
            denied(
                "secrets.get",
                json!(["ROOT_KEY"]),
                "one-key-less",
                "except: [Bare]",
                json!(["API_KEY"]),
            ),
            denied(
                "queue.publish",
                json!(["payroll", 1]),
                "one-queue-less",
                "except: [Bare]",
                json!(["invoices", 1]),
            ),
            denied(
                "queue.receive",
                json!(["payroll"]),
                "one-queue-less",
                "except: [Bare]",
                json!(["invoices"]),
            ),
            denied(
                "cache.get",
                json!(["rates:secret"]),
                "one-entry-less",
                "except: [Bare]",
                json!(["rates:a"]),
            ),
            denied(
                "cache.set",
                json!(["rates:secret:x", 1]),
                "one-entry-less",
                "except: [Bare]",
                json!(["rates:a", 1]),
            ),
            unlisted(
                "db.query",
                json!(["other"]),
                "tables: [notes, other]",
                json!(["notes"]),
            ),
            unlisted(
                "db.insert",
                json!(["other", {"id": 2}]),
                "tables: [notes, other]",
                json!(["notes", row]),
            ),
            unlisted(
                "http.get",
                json!(["https://other.example.org/"]),
                "other.example.org",
                json!(["https://api.example.org/"]),
            ),
            unlisted(
                "http.get",
                json!(["https://api.example.org:8443/"]),
                "api.example.org:8443",
                json!(["https://api.example.org/"]),
            ),
            unlisted(
                "http.get",
                json!(["http://api.example.org/"]),
                "api.example.org:80",
                json!(["https://api.example.org/"]),
            ),
            Row {
                twin: (
                    "Listed",
                    step("http.get", json!(["https://api.example.org/"])),
                ),
                ..unlisted(
                    "http.post",
                    json!(["https://api.example.org/"]),
                    "methods: [GET, POST]",
                    json!([]),
                )
            },
            unlisted(
                "secrets.get",
                json!(["ROOT_KEY"]),
                "keys: [API_KEY, ROOT_KEY]",
                json!(["API_KEY"]),
            ),
            unlisted(
                "secrets.get",
                json!(["api_key"]),
                "api_key",
                json!(["API_KEY"]),
            ),
            unlisted(
                "queue.publish",
                json!(["other", 1]),
                "queues: [invoices, other]",
                json!(["invoices", 1]),
            ),
            unlisted(
                "queue.receive",
                json!(["other"]),
                "queues: [invoices, other]",
                json!(["invoices"]),
            ),
            unlisted(
                "cache.get",
                json!(["prices:a"]),
                "prices:a",
                json!(["rates:a"]),
            ),
            unlisted(
                "cache.set",
                json!(["prices:a", 1]),
                "prices:a",
                json!(["rates:a", 1]),
            ),
        ],
    );
}

/// E2004: what is used up is named; a little less passes.
#[test]
fn budgets_name_themselves_and_what_fits_passes() {
    let server = serve();
    let rows = |count: usize| json!(["notes", vec![json!({"text": "row"}); count]]);
    let text = |size: usize| "x".repeat(size);
    let mut declared = exhausted(
        "Listed",
        step("db.insert", rows(3)),
        "rows",
        step("db.insert", rows(2)),
    );
    declared.layer = "contract";
    declared.line = Some("max_rows: 3");
    let mut limited = exhausted(
        "Bare",
        step("db.insert", rows(51)),
        "rows",
        step("db.insert", rows(50)),
    );
    limited.layer = "contract";
    limited.line = Some("max_rows: 51");
    check(
        &server,
        &[
            declared,
            limited,
            exhausted(
                "Listed",
                step("cache.set", json!(["rates:a", text(300 << 10)])),
                "value_bytes",
                step("cache.set", json!(["rates:a", text(200 << 10)])),
            ),
            exhausted(
                "Listed",
                step("queue.publish", json!(["invoices", text(300 << 10)])),
                "message_bytes",
                step("queue.publish", json!(["invoices", text(200 << 10)])),
            ),
        ],
    );
}

/// E2004 again: a request has so many calls, and every one of them is one record.
#[test]
fn the_calls_of_a_request_are_counted() {
    let server = serve();
    let order = json!({"count": 10_050, "method": "cache.get", "params": {"key": "rates:a"}});
    let answer = server.execute("Listed", &json!({"flood": order}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let told = &answer.body["result"];
    assert_eq!(told["values"], 10_000, "{told}");
    assert_eq!(told["codes"], json!({"E2004": 50}), "{told}");
    let calls = calls_of(&export(server.data.path()), &request_id(&answer));
    let denied = calls.iter().filter(|record| record["decision"] == "deny");
    assert_eq!((calls.len(), denied.count()), (10_050, 50));
}

/// E2005 and E3004: the request fails, what it had done is undone and recorded; the twins keep what they did.
#[test]
fn a_violation_and_an_invalid_output_undo_what_was_done() {
    let server = serve();
    let set = step("cache.set", json!(["rates:kept", 1]));
    let is_set = || {
        steps(
            &server,
            "Listed",
            &[step("cache.get", json!(["rates:kept"]))],
        )
        .1[0]["value"]
            == 1
    };
    let forget = || {
        steps(
            &server,
            "Listed",
            &[step("cache.delete", json!(["rates:kept"]))],
        )
    };
    for (more, status, code, layer) in [
        (
            json!({"system_call": "init_module"}),
            403,
            "E2005",
            Some("kernel"),
        ),
        (json!({"adds": {"unexpected": 1}}), 500, "E3004", None),
        (json!({"system_call": "getpid"}), 200, "none", None),
        (json!({"adds": {"expected": 1}}), 200, "none", None),
    ] {
        let mut input = json!({"steps": [set]});
        input
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        let answer = server.execute("Listed", &input);
        assert_eq!(
            (answer.status, answer.code()),
            (status, code),
            "{more}: {}",
            answer.body
        );
        assert_eq!(
            answer.body["error"]["details"]["layer"].as_str(),
            layer,
            "{more}: {}",
            answer.body
        );
        assert_eq!(is_set(), status == 200, "{more}");
        let records = export(server.data.path());
        let request = request_id(&answer);
        assert_eq!(calls_of(&records, &request).len(), 1, "{more}");
        let ends: Vec<_> = records
            .iter()
            .filter(|record| {
                record["kind"] == "execution" && record["request_id"] == request.as_str()
            })
            .collect();
        assert_eq!(ends.len(), 1, "{more}: {ends:?}");
        assert_eq!(
            ends[0]["code"].as_str().unwrap_or("none"),
            code,
            "{more}: {ends:?}"
        );
        let effects = if status == 200 { "committed" } else { "none" };
        assert_eq!(ends[0]["fields"]["effects"], effects, "{more}: {ends:?}");
        forget();
    }
}
