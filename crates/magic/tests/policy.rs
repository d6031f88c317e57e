//! `magic policy`, the routes of the policy, and a policy that changes while it is in force.

use serde_json::{Value, json};

use crate::command::run;
use crate::folder::{ANY, Folder};
use crate::http_client::Call;
use crate::server::Server;

const OPEN: &str = "name: open\nenvironment: development\nlayers: { cgroup_namespace: best_effort, cgroup_limits: best_effort }\nrules: [{ name: all, effect: allow, capabilities: [\"*\"] }]\n";
const CLOSED: &str = "name: closed\nenvironment: development\nlayers: { cgroup_namespace: best_effort, cgroup_limits: best_effort }\nrules:\n- { name: all, effect: allow, capabilities: [\"*\"] }\n- { name: no-cache, effect: deny, capabilities: [\"cache:read\"] }\n";

fn folder() -> Folder {
    let folder = Folder::new();
    folder.controller(
        "Reader",
        &format!("{ANY}capabilities: [{{ db:read: {{ tables: [customers] }} }}]\n"),
        "return {}",
    );
    folder
}

/// The decision is the exit status; the reasons are data.
#[test]
fn explain_decides_and_tells() {
    let folder = folder();
    let explain = |arguments: &[&str]| {
        run(
            &folder,
            &[&["policy", "explain", "--policy", "production"], arguments].concat(),
        )
    };
    let allowed = explain(&["Reader", "db:read", "customers"]).with_status(0);
    assert!(
        allowed.stdout.contains("allowed by rule listed-targets"),
        "{allowed:#?}"
    );
    let json = explain(&["controllers/reader", "db:read", "invoices", "--json"])
        .with_status(1)
        .json();
    assert_eq!(json["refusal"]["code"], "E2003");
    assert_eq!(
        json["refusal"]["details"]["line"],
        "- db:read: { tables: [customers, invoices] }"
    );
    let denied = explain(&["Reader", "db:rawsql"]).with_status(1);
    assert!(denied.stdout.contains("built-in:no-raw-sql"), "{denied:#?}");
    explain(&["Reader", "db:reed"]).with_status(2);
    explain(&["Reader", "db:rawsql", "customers"]).with_status(2);
    explain(&["Nobody", "db:read"]).with_status(2);
}

/// Cases pass or fail, in text and in JSON, with controllers and with contracts.
#[test]
fn cases_are_run() {
    let folder = folder();
    folder.write("p/open.yaml", OPEN);
    folder.write(
        "p/cases.yaml",
        "policy: open.yaml\ncases:\n- { name: by name, controller: Reader, capability: db:read, target: customers, expect: allow, rule: all }\n- { name: by path, controller: ../controllers/reader, capability: db:write, expect: deny }\n",
    );
    let passed = run(&folder, &["policy", "test", "p/cases.yaml"]).with_status(0);
    assert!(
        passed.stdout.contains("p/cases.yaml:3: by name"),
        "{passed:#?}"
    );
    folder.write(
        "wrong.yaml",
        "cases:\n- { name: wrong, contract: {}, capability: fs:temp, expect: allow }\n",
    );
    let json = run(
        &folder,
        &["policy", "test", "p/cases.yaml", "wrong.yaml", "--json"],
    )
    .with_status(1)
    .json();
    assert_eq!(json["failed"], 1);
    assert_eq!(json["cases"][2]["explanation"]["refusal"]["code"], "E2001");
    folder.write("broken.yaml", "cases: [{}]\n");
    run(&folder, &["policy", "test", "broken.yaml"]).with_status(1);
}

/// Mistakes are found, with and without controllers, and the built-in policies have none.
#[test]
fn lint_finds_mistakes() {
    let folder = folder();
    for built_in in ["development", "production"] {
        run(&folder, &["policy", "lint", built_in]).with_status(0);
    }
    folder.write(
        "policy.yaml",
        "name: a\nenvironment: production\nrules:\n- { name: other, effect: allow, capabilities: [\"fs:temp\"] }\n- { name: never, effect: deny, capabilities: [\"fs:temp\"], environments: [development] }\n",
    );
    let json = run(
        &folder,
        &[
            "policy",
            "lint",
            "policy.yaml",
            "--controllers",
            "controllers",
            "--json",
        ],
    )
    .with_status(1)
    .json();
    let kinds: Vec<&Value> = json["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| &one["kind"])
        .collect();
    assert_eq!(kinds, ["unused", "never_matches", "unpermitted"]);
    folder.write(
        "policy.yaml",
        "name: a\nenvironment: production\nrules: [{ name: a }, { name: a }]\n",
    );
    run(&folder, &["policy", "lint", "policy.yaml"]).with_status(2);
}

/// What is shown is a policy that says the same.
#[test]
fn show_prints_a_policy() {
    let folder = folder();
    let show = |arguments: &[&str]| {
        run(&folder, &[&["policy", "show"], arguments].concat()).with_status(0)
    };
    let text = show(&["--policy", "production"]).stdout;
    folder.write("again.yaml", &text);
    let hash = |policy: &str| show(&["--json", "--policy", policy]).json()["hash"].clone();
    assert_eq!(hash("again.yaml"), hash("production"));
    assert_ne!(hash("again.yaml"), hash("development"));
}

/// A saved policy is in force for the next call; a broken one changes nothing; the routes tell which.
#[test]
fn a_saved_policy_is_in_force() {
    let folder = Folder::new();
    folder.controller(
        "Cached",
        &format!("{ANY}capabilities: [cache:read]\n"),
        "from magic import MagicError\ntry:\n    await self.cache.get('a')\nexcept MagicError as error:\n    return {'code': getattr(error, 'code', None)}\nreturn {'code': None}",
    );
    let path = folder.write("policy.yaml", OPEN);
    let policy = path.to_str().expect("UTF-8");
    let mut server = Server::start(
        &folder,
        &[
            "dev",
            "--json",
            "--listen",
            "127.0.0.1:0",
            "--policy",
            policy,
        ],
    );
    let denied =
        |server: &Server| server.execute("Cached", "{}").json()["result"]["code"] == "E2002";
    let ask = |server: &Server| {
        let question = json!({ "controller": "Cached", "capability": "cache:read" });
        server
            .call(&Call::post("/api/policy/explain", &question.to_string()))
            .json()
    };
    assert!(!denied(&server));
    assert_eq!(ask(&server)["decision"], "allow");
    let before = server.call(&Call::get("/api/policy")).json();
    assert_eq!(before["policy"]["name"], "open");

    folder.write("new.yaml", CLOSED);
    std::fs::rename(folder.path().join("new.yaml"), &path).expect("renamed");
    let change = server.event("policy")["change"].take();
    assert_eq!(change["old_hash"], before["hash"]);
    assert_eq!(change["refused"][0]["controller"], "Cached");
    assert!(denied(&server));
    let explanation = ask(&server);
    assert_eq!(explanation["decision"], "deny");
    assert_eq!(
        explanation["rule"],
        json!({ "name": "no-cache", "file": "policy.yaml", "line": 6 })
    );
    let during = server.call(&Call::get("/api/policy")).json();
    assert_eq!(during["hash"], change["new_hash"]);

    folder.write("policy.yaml", "name: broken\n");
    let refused = server.event("policy_refused");
    assert!(refused["problems"][0]["message"].is_string(), "{refused}");
    assert!(denied(&server));

    folder.write("policy.yaml", OPEN);
    assert_eq!(server.event("policy")["change"]["new_hash"], before["hash"]);
    assert!(!denied(&server));
}

/// Questions that cannot be answered are refused with what is wrong.
#[test]
fn bad_questions_are_refused() {
    let folder = Folder::new();
    folder.echo();
    let server = Server::dev(&folder);
    for (question, status, code) in [
        (json!({}), 400, "E1004"),
        (json!({ "capability": "db:read" }), 400, "E1004"),
        (
            json!({ "capability": "db:reed", "controller": "Echo" }),
            400,
            "E1004",
        ),
        (
            json!({ "capability": "db:read", "controller": "Echo", "target": "a b" }),
            400,
            "E1004",
        ),
        (
            json!({ "capability": "db:read", "controller": "Echo", "contract": {} }),
            400,
            "E1004",
        ),
        (
            json!({ "capability": "db:read", "controler": "Echo" }),
            400,
            "E1004",
        ),
        (
            json!({ "capability": "db:read", "controller": "Nobody" }),
            404,
            "E4004",
        ),
        (
            json!({ "capability": "db:read", "contract": "name: x" }),
            400,
            "E1002",
        ),
    ] {
        server
            .call(&Call::post("/api/policy/explain", &question.to_string()))
            .assert_error(status, code);
    }
    let contract = "name: A\nversion: 1.0.0\ninput: {}\noutput: {}\ncapabilities: [db:read]\n";
    for contract in [
        json!(contract),
        json!({ "name": "A", "version": "1.0.0", "input": {}, "output": {}, "capabilities": ["db:read"] }),
    ] {
        let question =
            json!({ "capability": "db:read", "contract": contract, "target": "customers" });
        let answer = server.call(&Call::post("/api/policy/explain", &question.to_string()));
        assert_eq!(answer.json()["decision"], "allow", "{}", answer.json());
    }
}
