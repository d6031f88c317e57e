//! `Idempotency-Key`: a request that is asked twice under one name is done once.

use crate::support::server::{Answer, Controllers, wait_for};
use crate::world::World;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const TABLES: &str = "CREATE TABLE charges (id INTEGER PRIMARY KEY, note TEXT NOT NULL);
CREATE TABLE closed (id INTEGER PRIMARY KEY);";

/// Leaves a row whose number is the answer; raises while the shop is closed.
const CHARGE: &str = r#"
import asyncio
from magic import Controller, contract

@contract("./contract.yaml")
class Charge(Controller):
    async def execute(self, input):
        rows = await self.db.insert("charges", {"note": input["note"]}, returning=["id"])
        if await self.db.count("closed"):
            raise ValueError("closed")
        await asyncio.sleep(input.get("pause", 0))
        return {"rows": rows}
"#;

/// Closes or opens the shop.
const CLOSE: &str = r#"
from magic import Controller, contract

@contract("./contract.yaml")
class Close(Controller):
    async def execute(self, input):
        if input["closed"]:
            await self.db.insert("closed", {"id": 1})
        else:
            await self.db.delete("closed", where={"id": 1})
        return {}
"#;

/// Has no capability at all, and never gives the same answer twice.
const PLAIN: &str = r#"
import uuid
from magic import Controller, contract

@contract("./contract.yaml")
class Plain(Controller):
    async def execute(self, input):
        return {"made": str(uuid.uuid4())}
"#;

fn world() -> World {
    let controllers = Controllers::new()
        .with(
            "Charge",
            "capabilities: [{db:write: {tables: [charges]}}, {db:read: {tables: [closed]}}]\n\
             resources: {timeout: 60s}",
            CHARGE,
        )
        .with(
            "Close",
            "capabilities: [{db:write: {tables: [closed]}}]",
            CLOSE,
        )
        .with("Plain", "", PLAIN);
    World::embedded(controllers, TABLES)
}

fn named(world: &World, controller: &str, input: &Value, key: &str) -> Answer {
    let header = format!("idempotency-key: {key}\r\n");
    world.server.execute_with(controller, input, &header)
}

fn charges(world: &World) -> usize {
    world.column("SELECT id FROM charges").len()
}

/// The answer comes back as it was, also from the next life of the server, and the effect is there once.
#[test]
fn the_same_key_and_input_give_the_same_answer_and_one_effect() {
    let world = world();
    let input = json!({"note": "a", "pause": 0});
    let first = named(&world, "Charge", &input, "key-1");
    assert_eq!(first.status, 200, "{}", first.body);
    let again = named(&world, "Charge", &input, "key-1");
    // The order of members and the spaces between them are no difference.
    let text = "{ \"pause\" : 0,\n\"note\":\"a\"}";
    let spaced: Value = serde_json::from_str(text).expect("JSON");
    let spaced = named(&world, "Charge", &spaced, "key-1");
    for answer in [&again, &spaced] {
        assert_eq!(answer.status, 200, "{}", answer.body);
        for member in ["result", "request_id", "controller", "version"] {
            assert_eq!(answer.body[member], first.body[member], "{member}");
        }
    }
    assert_eq!(charges(&world), 1);

    let other = named(&world, "Charge", &json!({"note": "b"}), "key-1");
    assert_eq!(
        (other.status, other.code()),
        (400, "E1004"),
        "{}",
        other.body
    );
    assert_eq!(
        other.body["error"]["details"]["constraint"],
        "idempotency-key"
    );
    let fresh = named(&world, "Charge", &json!({"note": "b"}), "key-2");
    assert_eq!(fresh.status, 200, "{}", fresh.body);
    assert_ne!(fresh.body["result"], first.body["result"]);
    // Without a name every request is another.
    assert_eq!(world.server.execute("Charge", &input).status, 200);
    assert_eq!(charges(&world), 3);

    let world = world.restart();
    let later = named(&world, "Charge", &input, "key-1");
    assert_eq!(later.body["result"], first.body["result"]);
    assert_eq!(charges(&world), 3);
}

/// Whoever loses the race is told to come back, and then gets the winner's answer.
#[test]
fn sixteen_at_once_are_one_execution() {
    let world = world();
    let input = json!({"note": "a", "pause": 0.3});
    let results: BTreeSet<String> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| {
                    wait_for("the answer", || {
                        let answer = named(&world, "Charge", &input, "one");
                        if answer.status != 200 {
                            assert_eq!((answer.status, answer.code()), (429, "E3005"));
                            return None;
                        }
                        Some(answer.body["result"].to_string())
                    })
                })
            })
            .collect();
        asking
            .into_iter()
            .map(|one| one.join().expect("no panic"))
            .collect()
    });
    assert_eq!(results.len(), 1, "{results:?}");
    assert_eq!(charges(&world), 1);
    let runs = wait_for("a record of each answer", || {
        let (answers, runs): (Vec<_>, Vec<_>) = world
            .records("execution")
            .into_iter()
            .partition(|record| record["fields"]["replayed"].is_string());
        (answers.len() == 15).then_some(runs)
    });
    assert_eq!(runs.len(), 1, "{runs:#?}");
}

/// A failure is not an answer to keep: asked again, the request runs again.
#[test]
fn a_failure_is_not_stored() {
    let world = world();
    let shop = |closed: bool| {
        let answer = world.server.execute("Close", &json!({ "closed": closed }));
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    let input = json!({"note": "a"});
    shop(true);
    for _ in 0..2 {
        let failed = named(&world, "Charge", &input, "key");
        assert_eq!(
            (failed.status, failed.code()),
            (500, "E3003"),
            "{}",
            failed.body
        );
        assert_eq!(failed.reason(), "raised");
    }
    assert_eq!(charges(&world), 0);
    shop(false);
    let first = named(&world, "Charge", &input, "key");
    assert_eq!(first.status, 200, "{}", first.body);
    shop(true);
    let again = named(&world, "Charge", &input, "key");
    assert_eq!(again.body["result"], first.body["result"], "{}", again.body);
    assert_eq!(charges(&world), 1);
}

/// A key belongs to one controller, which needs no capability for it.
#[test]
fn keys_belong_to_a_controller_with_or_without_capabilities() {
    let world = world();
    let empty = json!({});
    let first = named(&world, "Plain", &empty, "shared");
    assert_eq!(first.status, 200, "{}", first.body);
    let again = named(&world, "Plain", &empty, "shared");
    assert_eq!(again.body["result"], first.body["result"]);
    let other = named(&world, "Plain", &empty, "another");
    assert_ne!(other.body["result"], first.body["result"]);
    let charge = named(&world, "Charge", &json!({"note": "a"}), "shared");
    assert_eq!(charge.status, 200, "{}", charge.body);
    assert!(
        charge.body["result"]["rows"]["id"].is_i64(),
        "{}",
        charge.body
    );
}

/// An answer outlives the schema that its request was judged by: a version that fills in a default, or refuses that input
/// altogether, gives the stored answer as well, and the record says that nothing was done. Another `?version=` is another request.
#[test]
fn an_answer_outlives_a_deploy() {
    let world = world();
    let input = json!({"a": 1});
    let first = named(&world, "Plain", &input, "kept");
    assert_eq!(first.status, 200, "{}", first.body);
    let folder = world.server.controllers.path().join("plain");
    let rules = [
        "{type: object, properties: {b: {type: integer, default: 7}}}",
        "{type: object, required: [b]}",
    ];
    for (number, rule) in rules.iter().enumerate() {
        let version = format!("2.0.{number}");
        let contract =
            format!("name: Plain\nversion: {version}\ninput: {rule}\noutput: {{type: object}}\n");
        std::fs::write(folder.join("contract.yaml"), contract).expect("our own file");
        wait_for("the new version", || {
            let answer = world.server.execute("Plain", &json!({"b": 1}));
            (answer.body["version"] == version.as_str()).then_some(())
        });
        let again = named(&world, "Plain", &input, "kept");
        assert_eq!(again.body["result"], first.body["result"], "{}", again.body);
        assert_eq!(again.body["version"], "1.0.0");
    }
    let refused = world.server.execute("Plain", &input);
    assert_eq!(refused.code(), "E1003", "the twin without a key");
    // A refused input gives its key back.
    for _ in 0..2 {
        let refused = named(&world, "Plain", &input, "another");
        assert_eq!(refused.code(), "E1003", "{}", refused.body);
    }
    let pinned = named(&world, "Plain?version=2.0.1", &input, "kept");
    assert_eq!(pinned.code(), "E1004", "{}", pinned.body);
    // Nobody waits for the record of a replay, so it may come a moment later.
    let replays = wait_for("two records of replays", || {
        let mut records = world.records("execution");
        records.retain(|record| !record["fields"]["replayed"].is_null());
        (records.len() == 2).then_some(records)
    });
    for replay in replays {
        assert_eq!(replay["fields"]["replayed"], first.body["request_id"]);
    }
}

/// What is no key is refused, since its sender believes to be protected.
#[test]
fn a_malformed_key_is_refused() {
    let world = world();
    let longest = "k".repeat(255);
    let table = [
        ("idempotency-key: \r\n".to_owned(), 400),
        ("idempotency-key: a b\r\n".to_owned(), 400),
        ("idempotency-key: \u{e4}\r\n".to_owned(), 400),
        (format!("idempotency-key: {longest}k\r\n"), 400),
        (
            "idempotency-key: a\r\nidempotency-key: a\r\n".to_owned(),
            400,
        ),
        (format!("idempotency-key: {longest}\r\n"), 200),
        ("idempotency-key: !\"#~\r\n".to_owned(), 200),
    ];
    for (headers, status) in table {
        let answer = world.server.execute_with("Plain", &json!({}), &headers);
        assert_eq!(answer.status, status, "{headers}: {}", answer.body);
        if status == 400 {
            assert_eq!(answer.code(), "E1004", "{headers}");
            assert_eq!(
                answer.body["error"]["details"]["constraint"],
                "idempotency-key"
            );
        }
    }
}
