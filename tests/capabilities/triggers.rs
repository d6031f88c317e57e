//! Messages that start controllers.

use crate::support::server::{Controllers, wait_for};
use crate::world::World;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(crate) const TABLES: &str =
    "CREATE TABLE done (run INTEGER PRIMARY KEY, id INTEGER NOT NULL, version TEXT NOT NULL);";

/// Publishes what it is told.
const SEND: &str = r#"
from magic import Controller, contract

@contract("./contract.yaml")
class Send(Controller):
    async def execute(self, input):
        for message in input["messages"]:
            await self.queue.publish("jobs", message)
        return {}
"#;

/// One row and one message for each job.
const WORK: &str = r#"
import asyncio
from magic import Controller, contract

@contract("./contract.yaml")
class Work(Controller):
    async def execute(self, input):
        assert self.context.caller.subject == "queue:jobs", self.context.caller
        await self.db.insert("done", {"id": input["id"], "version": self.context.version})
        await self.queue.publish("out", {"id": input["id"]})
        await asyncio.sleep(input.get("pause", 0))
        if input.get("fail"):
            raise ValueError("this job never works")
        return {}
"#;

/// Reads a queue and gives everything back, by failing.
const LOOK: &str = r#"
from magic import Controller, ControllerError, contract

@contract("./contract.yaml")
class Look(Controller):
    async def execute(self, input):
        found = await self.queue.receive(input["queue"], max=100)
        found = [{"body": m.body, "dead_letter": m.dead_letter} for m in found]
        raise ControllerError("seen", code="SEEN", details={"found": found})
"#;

pub(crate) const WORK_CONTRACT: &str = "triggers: [{queue: jobs}]
capabilities: [{db:write: {tables: [done]}}, {queue:subscribe: {queues: [jobs]}}, {queue:publish: {queues: [out]}}]
resources: {timeout: 60s}
input: {type: object, required: [id], properties: {id: {type: integer}}}";

pub(crate) fn controllers(work: &str) -> Controllers {
    Controllers::new()
        .with(
            "Send",
            "capabilities: [{queue:publish: {queues: [jobs]}}]\nresources: {timeout: 60s}",
            SEND,
        )
        .with("Work", work, WORK)
        .with(
            "Look",
            "capabilities: [{queue:subscribe: {queues: [jobs, jobs.dead, out]}}]",
            LOOK,
        )
}

pub(crate) fn send(world: &World, messages: &[Value]) {
    let answer = world
        .server
        .execute("Send", &json!({ "messages": messages }));
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// What waits in a queue and is not hidden.
fn look(world: &World, queue: &str) -> Vec<Value> {
    let answer = world.server.execute("Look", &json!({ "queue": queue }));
    let found = &answer.body["error"]["details"]["controller_details"]["found"];
    let found = found.as_array();
    found.unwrap_or_else(|| panic!("{}", answer.body)).clone()
}

/// Puts one text for another in a file of the controllers.
fn rewrite(world: &World, file: &str, old: &str, new: &str) {
    let file = world.server.controllers.path().join(file);
    let text = std::fs::read_to_string(&file).expect("our own file");
    assert!(text.contains(old), "{text}");
    std::fs::write(&file, text.replace(old, new)).expect("our own file");
}

/// Gives the controller its next version, and waits until it serves.
pub(crate) fn deploy_next(world: &World) {
    rewrite(
        world,
        "work/contract.yaml",
        "version: 1.0.0",
        "version: 1.1.0",
    );
    world
        .server
        .event(|event| event["event"] == "deployed" && event["version"] == "1.1.0");
}

/// How often each job has left a row.
pub(crate) fn done(world: &World) -> BTreeMap<i64, usize> {
    let mut times = BTreeMap::new();
    for id in world.column("SELECT id FROM done") {
        *times.entry(id.parse().expect("a number")).or_default() += 1;
    }
    times
}

pub(crate) fn once(ids: std::ops::Range<i64>) -> BTreeMap<i64, usize> {
    ids.map(|id| (id, 1)).collect()
}

/// The records of runs that a message started.
pub(crate) fn runs(world: &World) -> Vec<Value> {
    world
        .records("execution")
        .into_iter()
        .filter(|record| record["fields"]["trigger"].is_object())
        .collect()
}

/// Good jobs are done once with all their effects and are gone; a job that always fails is tried as often as the queue says and
/// leaves nothing but a dead letter; an input that the contract does not accept is one at once.
fn processes_retries_and_buries(world: &World) {
    let good: Vec<Value> = (0..20).map(|id| json!({ "id": id })).collect();
    let poison = json!({"id": 1000, "fail": true});
    let broken = json!({"name": "no number"});
    send(
        world,
        &[
            std::slice::from_ref(&poison),
            &good,
            std::slice::from_ref(&broken),
        ]
        .concat(),
    );

    let dead = wait_for("two dead letters", || {
        Some(look(world, "jobs.dead")).filter(|dead| dead.len() == 2)
    });
    let letter = |body: &Value| {
        let found = dead.iter().find(|letter| letter["body"] == *body);
        found.unwrap_or_else(|| panic!("{dead:?}"))["dead_letter"].clone()
    };
    assert_eq!(
        letter(&poison),
        json!({"reason": "E3003 raised", "attempts": 5})
    );
    assert_eq!(letter(&broken), json!({"reason": "E1003", "attempts": 1}));

    wait_for("every good job", || {
        (done(world) == once(0..20)).then_some(())
    });
    wait_for("delivery", || (world.outbox() == 0).then_some(()));
    assert_eq!(look(world, "jobs"), [] as [Value; 0]);
    let out = look(world, "out");
    assert_eq!(out.len(), 20, "failed attempts published nothing: {out:?}");

    let runs = runs(world);
    assert_eq!(runs.len(), 20 + 5 + 1, "{runs:#?}");
    let attempts: Vec<_> = runs
        .iter()
        .filter(|run| run["fields"]["reason"] == "raised")
        .map(|run| run["fields"]["trigger"]["attempt"].as_u64())
        .collect();
    assert_eq!(attempts, (1..=5).map(Some).collect::<Vec<_>>());
    for run in &runs {
        assert_eq!(run["caller"], "queue:jobs");
        assert_eq!(run["fields"]["trigger"]["queue"], "jobs");
        let succeeded = run["code"].is_null();
        let effects = if succeeded { "committed" } else { "none" };
        assert_eq!(run["fields"]["effects"], effects, "{run}");
    }
}

#[test]
fn processes_retries_and_buries_on_the_embedded_queue() {
    processes_retries_and_buries(&World::embedded(controllers(WORK_CONTRACT), TABLES));
}

#[test]
fn processes_retries_and_buries_on_redis() {
    processes_retries_and_buries(&World::with_redis(controllers(WORK_CONTRACT), TABLES));
}

/// A message whose run dies with the supervisor is handed out again, and what was committed is not done twice.
///
/// The second message is sent when the first is done, because SQLite has one writer: the run that pauses would keep the other
/// from it. The pause outlasts everything that the test does before the kill; the version that comes after it does not pause.
#[test]
fn a_killed_supervisor_takes_no_message_along() {
    let world = World::embedded(controllers(WORK_CONTRACT), TABLES);
    send(&world, &[json!({"id": 0})]);
    wait_for("the first job", || {
        (done(&world) == once(0..1)).then_some(())
    });
    send(&world, &[json!({"id": 1, "pause": 50})]);
    wait_for("the second job's insert", || {
        let inserts = world.records("call");
        let inserts = inserts.iter().filter(|call| call["method"] == "db.insert");
        (inserts.count() == 2).then_some(())
    });
    rewrite(&world, "work/controller.py", "input.get(\"pause\", 0)", "0");
    rewrite(
        &world,
        "work/contract.yaml",
        "version: 1.0.0",
        "version: 1.0.1",
    );
    let world = world.restart();
    wait_for("the second job", || {
        (done(&world) == once(0..2)).then_some(())
    });
    let versions = world.column("SELECT version FROM done ORDER BY id");
    assert_eq!(versions, ["1.0.0", "1.0.1"]);
    wait_for("delivery", || (world.outbox() == 0).then_some(()));
    assert_eq!(world.messages("jobs"), [] as [String; 0]);
}

/// Two hundred messages, several at a time, while the controller is deployed anew: each is done once, by one version or the
/// other, and none fails.
#[test]
fn messages_flow_through_a_redeploy() {
    let concurrent = format!("{WORK_CONTRACT}\nconcurrency: 3");
    let world = World::embedded(controllers(&concurrent), TABLES);
    let messages: Vec<Value> = (0..200).map(|id| json!({ "id": id })).collect();
    send(&world, &messages);
    wait_for("some jobs", || (done(&world).len() >= 20).then_some(()));
    deploy_next(&world);
    wait_for("every job", || (done(&world).len() == 200).then_some(()));
    assert_eq!(done(&world), once(0..200));
    let versions = world.column("SELECT DISTINCT version FROM done ORDER BY version");
    assert_eq!(versions, ["1.0.0", "1.1.0"]);
    wait_for("delivery", || (world.outbox() == 0).then_some(()));
    assert_eq!(world.messages("jobs"), [] as [String; 0]);
    let runs = runs(&world);
    assert_eq!(runs.len(), 200, "no attempt failed");
}

/// A bare capability speaks of the controller's own queue, which nobody else can fill.
#[test]
fn a_bare_subscription_consumes_its_private_queue() {
    let private = "triggers: [{queue: jobs}]
capabilities: [db:write, queue:subscribe, queue:publish]
resources: {timeout: 60s}";
    let code = r#"
from magic import Controller, contract

@contract("./contract.yaml")
class Work(Controller):
    async def execute(self, input):
        if input.get("begin"):
            await self.queue.publish("jobs", {"id": 7})
        else:
            await self.db.insert("done", {"id": input["id"], "version": self.context.caller.subject})
        return {}
"#;
    let controllers = Controllers::new()
        .with(
            "Send",
            "capabilities: [{queue:publish: {queues: [jobs]}}]",
            SEND,
        )
        .with("Work", private, code);
    let world = World::embedded(controllers, TABLES);
    send(&world, &[json!({"id": 1})]);
    let answer = world.server.execute("Work", &json!({"begin": true}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    wait_for("the private job", || {
        (done(&world).len() == 1).then_some(())
    });
    let callers = world.column("SELECT version FROM done");
    assert_eq!(callers, ["queue:c/Work/jobs"]);
    wait_for("delivery", || (world.outbox() == 0).then_some(()));
    assert_eq!(world.messages("jobs"), [r#"{"id":1}"#]);
}
