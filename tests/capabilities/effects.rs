//! Effects commit with the response: a request that fails leaves no row, no message and no cache entry behind, however it
//! fails; one that succeeds leaves all of them.

mod lost_commit;
mod sequences;

use crate::support::server::{Answer, Controllers, wait_for};
use crate::world::World;
use serde_json::{Value, json};

/// The second table's rows are checked at COMMIT only.
pub(crate) const TABLES: &str = "CREATE TABLE items (id INTEGER PRIMARY KEY, note TEXT NOT NULL);
CREATE TABLE parts (id INTEGER PRIMARY KEY, item INTEGER NOT NULL REFERENCES items (id) DEFERRABLE INITIALLY DEFERRED);";

/// Does what it is told, in order or all at once, says what it sees afterwards, and ends as it is told. A call that fails is
/// caught: it must not spoil the rest.
const ACT: &str = r#"
import asyncio, ctypes, json, os
from magic import Controller, MagicError, contract

@contract("./contract.yaml")
class Act(Controller):
    async def execute(self, input):
        if input.get("at_once"):
            await asyncio.gather(*(self.step(*step) for step in input["steps"]))
        else:
            for step in input["steps"]:
                await self.step(*step)
        if leave := input.get("leave"):
            # In one write, so that the last of them have just begun when the result is read.
            frames = [{"id": 1000 + number, **call} for number, call in enumerate(leave)]
            frames.append({"id": 0, "result": {"seen": {}}})
            data = [json.dumps(frame).encode() for frame in frames]
            os.write(3, b"".join(len(one).to_bytes(4, "big") + one for one in data))
            await asyncio.sleep(60)
        rows = await self.db.query("items", order_by="id")
        seen = {
            "rows": [f"{row['id']} {row['note']}" for row in rows],
            "cache": [await self.cache.get("a"), await self.cache.get("b")],
        }
        end = input.get("end")
        if end == "raise":
            raise ValueError("after everything")
        if end == "hang":
            await asyncio.sleep(60)
        if end == "die":
            ctypes.string_at(0)
        if end == "break":
            return {"seen": "no object"}
        return {"seen": seen}

    async def step(self, what, first=None, second=None):
        try:
            if what == "insert":
                await self.db.insert("items", {"id": first, "note": second})
            elif what == "update":
                await self.db.update("items", {"note": second}, {"id": first})
            elif what == "delete":
                await self.db.delete("items", where={"id": first})
            elif what == "orphan":
                await self.db.insert("parts", {"id": first, "item": second})
            elif what == "publish":
                await self.queue.publish(first, second)
            elif what == "take":
                for message in await self.queue.receive("in", max=1):
                    await message.ack()
            elif what == "set":
                await self.cache.set(first, second)
            elif what == "forget":
                await self.cache.delete(first)
            else:
                raise SystemExit(what)
        except MagicError as error:
            self.log.info(f"caught {error.code}")
"#;

const LOOK: &str = r#"
from magic import Controller, contract

@contract("./contract.yaml")
class Look(Controller):
    async def execute(self, input):
        return {"cache": [await self.cache.get("a"), await self.cache.get("b")]}
"#;

const ACT_CONTRACT: &str = "capabilities:
  - db:read: {tables: [items]}
  - db:write: {tables: [items, parts]}
  - queue:publish: {queues: [in, out]}
  - queue:subscribe: {queues: [in]}
  - cache:read: {keys: [a, b]}
  - cache:write: {keys: [a, b]}
output: {type: object, required: [seen], properties: {seen: {type: object}}}";

/// `Act` with much time, `Hurry` with little, and `Now` whose effects take place at once.
pub(crate) fn controllers() -> Controllers {
    let named = |name: &str| ACT.replace("class Act", &format!("class {name}"));
    let patient = format!("{ACT_CONTRACT}\nresources: {{timeout: 60s}}");
    Controllers::new()
        .with("Act", &patient, ACT)
        .with(
            "Hurry",
            &format!("{ACT_CONTRACT}\nresources: {{timeout: 3s}}"),
            &named("Hurry"),
        )
        .with(
            "Now",
            &format!("{patient}\neffects: immediate"),
            &named("Now"),
        )
        .with("Look", "capabilities: [{cache:read: {keys: [a, b]}}]", LOOK)
}

/// Everything that requests can leave.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct State {
    pub(crate) rows: Vec<String>,
    pub(crate) parts: Vec<String>,
    pub(crate) incoming: Vec<String>,
    pub(crate) outgoing: Vec<String>,
    pub(crate) cache: [Value; 2],
}

/// What there is once everything committed has been delivered.
pub(crate) fn observe(world: &World) -> State {
    wait_for("delivery", || (world.outbox() == 0).then_some(()));
    let look = world.server.execute("Look", &json!({}));
    let cache = &look.body["result"]["cache"];
    let mut rows = world.columns(&[
        "SELECT id || ' ' || note FROM items ORDER BY id",
        "SELECT id FROM parts ORDER BY id",
    ]);
    let mut messages = world.messages_of(&["in", "out"]);
    State {
        parts: rows.remove(1),
        rows: rows.remove(0),
        outgoing: messages.remove(1),
        incoming: messages.remove(0),
        cache: [cache[0].clone(), cache[1].clone()],
    }
}

pub(crate) fn act(world: &World, controller: &str, steps: &Value, end: &str) -> Answer {
    let input = json!({"steps": steps, "end": end});
    world.server.execute(controller, &input)
}

/// Something of every kind, to be changed.
fn seed(world: &World) -> State {
    let steps = json!([
        ["insert", 1, "before"],
        ["insert", 2, "before"],
        ["set", "a", "before"],
        ["publish", "in", 1],
        ["publish", "in", 2],
        ["publish", "in", 3],
    ]);
    let answer = act(world, "Act", &steps, "return");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let seeded = observe(world);
    assert_eq!(seeded.rows, ["1 before", "2 before"]);
    assert_eq!(seeded.incoming, ["1", "2", "3"]);
    assert_eq!(seeded.cache, [json!("before"), Value::Null]);
    seeded
}

/// Every kind of effect, with a failed call in the middle.
fn everything() -> Value {
    json!([
        ["insert", 3, "new"],
        ["insert", 1, "collides"],
        ["update", 1, "changed"],
        ["delete", 2],
        ["publish", "out", "sent"],
        ["take"],
        ["set", "a", "changed"],
        ["set", "b", "new"],
    ])
}

fn request(answer: &Answer) -> &str {
    let id = &answer.body["error"]["request_id"];
    id.as_str().expect("an identifier")
}

/// One table of failures, and the twin that succeeds.
fn all_or_nothing(world: &World) {
    let before = seed(world);
    let table = [
        ("Act", "raise", everything(), "E3003", "raised"),
        ("Act", "break", everything(), "E3004", "none"),
        ("Act", "die", everything(), "E3003", "signal"),
        ("Hurry", "hang", everything(), "E3001", "none"),
        (
            "Act",
            "return",
            json!([["orphan", 1, 99], ["publish", "out", 1], ["set", "a", 1]]),
            "E3003",
            "backend",
        ),
    ];
    for (controller, end, steps, code, reason) in table {
        let answer = act(world, controller, &steps, end);
        assert_eq!(
            (answer.code(), answer.reason()),
            (code, reason),
            "{end}: {}",
            answer.body
        );
        assert_eq!(observe(world), before, "{end} left something");
        let record = world.execution(request(&answer)).expect("a record");
        assert_eq!(record["fields"]["effects"], "none", "{record}");
    }

    // A client that hangs up when everything is done but the answer.
    let calls = world.records("call").len();
    let input = json!({"steps": everything(), "end": "hang"});
    world.server.execute_and_leave("Act", &input, || {
        wait_for("the last calls", || {
            (world.records("call").len() >= calls + 11).then_some(())
        });
    });
    let record = wait_for("the record of the abandoned request", || {
        let runs = world.records("execution");
        runs.into_iter()
            .find(|run| run["fields"]["abandoned"] == true)
    });
    assert_eq!(record["fields"]["effects"], "none");
    assert_eq!(
        observe(world),
        before,
        "the abandoned request left something"
    );

    let answer = act(world, "Act", &everything(), "return");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let after = observe(world);
    assert_eq!(after.rows, ["1 changed", "3 new"]);
    assert_eq!(after.outgoing, ["\"sent\""]);
    assert_eq!(after.incoming.len(), 2);
    assert_eq!(after.cache, [json!("changed"), json!("new")]);
    // Nobody else saw them earlier, but the request itself did.
    let seen = &answer.body["result"]["seen"];
    assert_eq!(seen["rows"], json!(after.rows));
    assert_eq!(seen["cache"], json!(after.cache));
    let id = answer.body["request_id"].as_str().expect("an identifier");
    let record = world.execution(id).expect("a record");
    assert_eq!(record["fields"]["effects"], "committed");
}

#[test]
fn all_or_nothing_on_the_embedded_database() {
    all_or_nothing(&World::embedded(controllers(), TABLES));
}

#[test]
fn all_or_nothing_on_postgres() {
    all_or_nothing(&World::on_postgres(controllers(), TABLES));
}

/// A controller that answers before its calls have ended keeps all of them or nothing, however far they came; a call that
/// changes nothing may be left.
fn answering_too_early(world: &World) {
    seed(world);
    let insert = |from: u32| -> Vec<Value> {
        let row = |id: u32| json!({"table": "items", "rows": {"id": id, "note": "n"}});
        (from..from + 100)
            .map(|id| json!({"method": "db.insert", "params": row(id)}))
            .collect()
    };
    let first = json!([["insert", 900, "n"], ["publish", "out", 1], ["set", "a", 1]]);
    // They wait for one another, so that some have hardly begun when the result behind them is read; but nobody can hold
    // a database to being slow.
    for (steps, from) in [(json!([]), 100), (first, 300)] {
        let before = observe(world);
        let input = json!({"steps": steps, "leave": insert(from)});
        let answer = world.server.execute("Act", &input);
        let rows = observe(world).rows.len() - before.rows.len();
        match answer.status {
            200 => assert_eq!(rows, 100 + usize::from(steps != json!([]))),
            _ => {
                assert_eq!((answer.code(), answer.reason()), ("E3003", "protocol"));
                assert_eq!(observe(world), before, "something is left");
            }
        }
    }
    let get = vec![json!({"method": "cache.get", "params": {"key": "a"}}); 100];
    let input = json!({"steps": [["insert", 5, "n"]], "leave": get});
    let answer = world.server.execute("Act", &input);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(observe(world).rows.contains(&"5 n".to_owned()));
}

#[test]
fn answering_too_early_on_the_embedded_database() {
    answering_too_early(&World::embedded(controllers(), TABLES));
}

#[test]
fn answering_too_early_on_postgres() {
    answering_too_early(&World::on_postgres(controllers(), TABLES));
}

/// Calls that a controller makes at once are all part of its one request.
#[test]
fn calls_at_once_are_one_request() {
    let world = World::embedded(controllers(), TABLES);
    let mut steps: Vec<Value> = (0..12).map(|id| json!(["insert", id, "n"])).collect();
    steps.extend((0..12).map(|id| json!(["publish", "out", id])));
    let input = |end: &str| json!({"steps": steps, "at_once": true, "end": end});
    let before = observe(&world);
    let failed = world.server.execute("Act", &input("raise"));
    assert_eq!(failed.reason(), "raised", "{}", failed.body);
    assert_eq!(observe(&world), before);
    let answer = world.server.execute("Act", &input("return"));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let after = observe(&world);
    assert_eq!((after.rows.len(), after.outgoing.len()), (12, 12));
}

/// `effects: immediate` gives the promise up, and says so by what it leaves.
#[test]
fn immediate_effects_stay() {
    let world = World::embedded(controllers(), TABLES);
    seed(&world);
    let answer = act(&world, "Now", &everything(), "raise");
    assert_eq!(answer.reason(), "raised", "{}", answer.body);
    let after = observe(&world);
    assert_eq!(after.rows, ["1 changed", "3 new"]);
    assert_eq!(after.outgoing, ["\"sent\""]);
    assert_eq!(after.incoming.len(), 2);
    assert_eq!(after.cache, [json!("changed"), json!("new")]);
}
