//! A policy that changes while requests run, and what its readers are told.

use crate::acting::{acting, step, steps};
use crate::audit::calls_of;
use crate::support::command::export;
use crate::support::server::{Controllers, Server, wait_for};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

const LOOPING: &str = r#"
import asyncio

from magic import CapabilityDenied, Controller, contract


@contract("./contract.yaml")
class Looping(Controller):
    async def execute(self, input):
        allowed = 0
        while True:
            try:
                await self.cache.get("a")
            except CapabilityDenied as denied:
                return {"allowed": allowed, "code": denied.code, "rule": denied.rule}
            allowed += 1
            await asyncio.sleep(0.02)
"#;

const CONTRACT: &str = "capabilities: [cache:read]\nresources: { timeout: 2m }";

fn policy(rules: &str) -> String {
    format!(
        "name: house\nenvironment: development\nrules:\n  - {{ name: open, effect: allow, capabilities: [\"*\"] }}\n{rules}"
    )
}

const NO_CACHE: &str = "  - { name: no-cache, effect: deny, capabilities: [\"cache:read\"] }\n";
const TRIAL: &str =
    "  - { name: no-cache, effect: deny, mode: report, capabilities: [\"cache:read\"] }\n";

/// Replaces a file as a careful person does.
pub(crate) fn put(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).expect("our own file");
    std::fs::rename(&new, path).expect("our own file");
}

/// M7: the next call of a request that runs sees the new policy; a broken one changes nothing; report mode only reports.
#[test]
fn a_running_request_meets_the_new_policy_at_its_next_call() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, policy("")).expect("our own file");
    let controllers = Controllers::new().with("Looping", CONTRACT, LOOPING);
    let controllers = acting(controllers, "Once", CONTRACT);
    let server = Server::start_with(
        controllers,
        &[("MAGIC_POLICY", path.to_str().expect("UTF-8"))],
    );
    let hash = || {
        server.get("/api/policy").body["hash"]
            .as_str()
            .expect("a hash")
            .to_owned()
    };
    let once = || {
        let (request, told) = steps(&server, "Once", &[step("cache.get", json!(["a"]))]);
        let calls = calls_of(&export(server.data.path()), &request);
        assert_eq!(calls.len(), 1, "{calls:#?}");
        (
            told[0]["code"].as_str().unwrap_or("none").to_owned(),
            calls[0].clone(),
        )
    };
    let before = hash();
    let answer = std::thread::scope(|scope| {
        let running = scope.spawn(|| server.execute("Looping", &json!({})));
        wait_for("the first call", || {
            let logs = server
                .get("/api/controllers/Looping/logs?limit=10")
                .body
                .to_string();
            logs.contains("cache.get done").then_some(())
        });
        put(&path, &policy(NO_CACHE));
        running.join().expect("no panic")
    });
    assert_eq!(answer.status, 200, "{}", answer.body);
    let result = &answer.body["result"];
    assert_eq!(
        (&result["code"], &result["rule"]),
        (&json!("E2002"), &json!("no-cache"))
    );
    let change = server.event(|event| event["event"] == "policy")["change"].clone();
    assert_eq!(
        (&change["old_hash"], &change["new_hash"]),
        (&json!(before), &json!(hash()))
    );
    let closed = hash();
    let calls = calls_of(
        &export(server.data.path()),
        answer.body["request_id"].as_str().expect("an id"),
    );
    let allowed = result["allowed"].as_u64().expect("a number");
    assert!(allowed >= 1);
    assert_eq!(calls.len() as u64, allowed + 1, "one record for every call");
    let (last, earlier) = calls.split_last().expect("calls");
    assert_eq!(last["policy_hash"], closed.as_str());
    assert_eq!(
        (&last["decision"], &last["rule"]["name"]),
        (&json!("deny"), &json!("no-cache"))
    );
    for call in earlier {
        assert_eq!(call["policy_hash"], before.as_str());
        assert_eq!(
            (&call["decision"], &call["rule"]["name"]),
            (&json!("allow"), &json!("open"))
        );
    }

    put(&path, "name: house\nrulez: []\n");
    let refused = server.event(|event| event["event"] == "policy_refused");
    assert!(refused["problems"][0]["message"].is_string(), "{refused}");
    assert_eq!(hash(), closed);
    assert_eq!(once().0, "E2002");

    put(&path, &policy(TRIAL));
    server.event(|event| event["event"] == "policy");
    let (code, record) = once();
    assert_eq!(
        (code.as_str(), &record["decision"]),
        ("none", &json!("allow"))
    );
    assert_eq!(
        record["fields"]["would_deny"],
        json!(["no-cache"]),
        "{record}"
    );

    put(&path, &policy(""));
    server.event(|event| event["event"] == "policy");
    let (code, record) = once();
    assert_eq!(code, "none");
    assert_eq!(record["fields"]["would_deny"], Value::Null, "{record}");
    assert_eq!(hash(), before);
    // Every change of the policy is a record of its own.
    let changes = export(server.data.path())
        .iter()
        .filter(|record| record["kind"] == "policy")
        .count();
    assert_eq!(changes, 3);
}

/// `magic policy explain` prints the decision and the rule, and decides by its exit status.
#[test]
fn explaining_raw_sql_names_the_rule_that_denies_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let controller = folder.path().join("controllers/invoice_sync");
    std::fs::create_dir_all(&controller).expect("our own folder");
    let contract =
        "name: InvoiceSync\nversion: 1.0.0\ninput: {}\noutput: {}\ncapabilities: [db:rawsql]\n";
    std::fs::write(controller.join("contract.yaml"), contract).expect("our own file");
    std::fs::write(controller.join("controller.py"), "").expect("our own file");
    for (policy, status, decision, rule) in [
        ("production", 1, "deny", "built-in:no-raw-sql"),
        ("development", 0, "allow", "everything-declared"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_magic"))
            .args([
                "policy",
                "explain",
                "InvoiceSync",
                "db:rawsql",
                "--policy",
                policy,
                "--json",
            ])
            .current_dir(folder.path())
            .output()
            .expect("the binary runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{policy}: {said}");
        let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(
            (&told["decision"], &told["rule"]["name"]),
            (&json!(decision), &json!(rule)),
            "{told}"
        );
    }
}
