//! When messages start a controller and when they wait: policy, removal, the end of the server, and a queue that is away.

use crate::policy_reload::put;
use crate::support::server::wait_for;
use crate::triggers::{TABLES, WORK_CONTRACT, controllers, deploy_next, done, once, runs, send};
use crate::world::World;
use serde_json::{Value, json};

const OPEN: &str = "name: house
environment: development
rules:
  - { name: open, effect: allow, capabilities: [\"*\"] }
";

const CLOSED: &str = "  - { name: closed, effect: deny, controllers: [Work], capabilities: [\"queue:subscribe\"] }\n";

/// The same table where a key does not number itself.
const POSTGRES_TABLES: &str = "CREATE TABLE done (
    run INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id INTEGER NOT NULL, version TEXT NOT NULL
);";

fn jobs(ids: std::ops::Range<i64>) -> Vec<Value> {
    ids.map(|id| json!({ "id": id })).collect()
}

/// Waits until the first job has made its calls; what it does after them is to pause.
fn pausing(world: &World) {
    wait_for("the calls of a job", || {
        let calls = world.records("call");
        let mut calls = calls.iter().filter(|call| call["controller"] == "Work");
        calls
            .any(|call| call["method"] == "queue.publish")
            .then_some(())
    });
}

/// What the policy denies waits and is recorded once; it is done when the policy permits it.
#[test]
fn a_policy_that_denies_lets_messages_wait() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("policy.yaml");
    put(&path, OPEN);
    let setting = ("MAGIC_POLICY", path.to_str().expect("UTF-8").to_owned());
    let world = World::embedded_with(controllers(WORK_CONTRACT), TABLES, setting);
    send(&world, &jobs(0..1));
    wait_for("the first job", || {
        (done(&world) == once(0..1)).then_some(())
    });

    put(&path, &format!("{OPEN}{CLOSED}"));
    world.server.event(|event| event["event"] == "policy");
    send(&world, &jobs(1..4));
    let refusals = || {
        let mut records = world.records("execution");
        records.retain(|record| record["capability"] == "queue:subscribe");
        records
    };
    let refusal = wait_for("the refusal", || refusals().pop());
    assert_eq!(refusal["decision"], "deny", "{refusal}");
    assert_eq!(refusal["rule"]["layer"], "policy", "{refusal}");
    assert_eq!(refusal["rule"]["name"], "closed", "{refusal}");
    wait_for("delivery", || (world.outbox() == 0).then_some(()));
    assert_eq!(world.messages("jobs").len(), 3);
    assert_eq!(done(&world), once(0..1));

    put(&path, OPEN);
    wait_for("the other jobs", || {
        (done(&world) == once(0..4)).then_some(())
    });
    assert_eq!(refusals().len(), 1, "{:#?}", refusals());
    let mut runs = runs(&world);
    runs.retain(|run| run["capability"].is_null());
    assert_eq!(runs.len(), 4, "{runs:#?}");
}

/// A controller that is gone starts no more; its messages wait for the one that comes back.
#[test]
fn messages_outlast_their_controller() {
    let world = World::embedded(controllers(WORK_CONTRACT), TABLES);
    send(&world, &jobs(0..1));
    wait_for("the first job", || {
        (done(&world) == once(0..1)).then_some(())
    });
    let folder = world.server.controllers.path();
    let aside = tempfile::tempdir_in(folder.parent().expect("a folder")).expect("a folder");
    let away = aside.path().join("work");
    std::fs::rename(folder.join("work"), &away).expect("our own folder");
    world
        .server
        .event(|event| event["event"] == "removed" && event["controller"] == "Work");
    send(&world, &jobs(1..4));
    wait_for("delivery", || (world.outbox() == 0).then_some(()));
    assert_eq!(world.messages("jobs").len(), 3);

    std::fs::rename(&away, folder.join("work")).expect("our own folder");
    wait_for("the other jobs", || {
        (done(&world) == once(0..4)).then_some(())
    });
    assert_eq!(runs(&world).len(), 4);
}

/// A server that is asked to end finishes the run that it has begun or gives its message back, with nothing of it done, and leaves
/// to the next what it did not begin. On PostgreSQL, where a run that pauses keeps nobody from writing.
#[test]
fn a_server_that_ends_finishes_what_it_began() {
    let world = World::on_postgres(controllers(WORK_CONTRACT), POSTGRES_TABLES);
    send(&world, &[json!({"id": 0, "pause": 2})]);
    pausing(&world);
    send(&world, &jobs(1..4));
    let world = world.drain();
    wait_for("every job", || (done(&world) == once(0..4)).then_some(()));
    let effects = |run: &Value| run["fields"]["effects"].clone();
    let (committed, others): (Vec<_>, Vec<_>) = runs(&world)
        .into_iter()
        .partition(|run| effects(run) == "committed");
    assert_eq!(committed.len(), 4, "{committed:#?}");
    // A machine that is slow enough needs longer than the server waits.
    for run in others {
        assert_eq!(effects(&run), "none", "{run:#?}");
        assert_eq!(run["fields"]["abandoned"], true, "{run:#?}");
    }
    wait_for("delivery", || (world.outbox() == 0).then_some(()));
    assert_eq!(world.messages("jobs"), [] as [String; 0]);
}

/// Redis goes away during a run and comes back: the run ends and is not done again, and what comes after is done.
#[test]
fn a_queue_that_was_away_is_consumed_when_it_is_back() {
    let mut world = World::with_redis(controllers(WORK_CONTRACT), TABLES);
    send(&world, &[json!({"id": 0, "pause": 3})]);
    pausing(&world);
    let mut redis = world.redis.take().expect("started with one");
    redis.kill();
    wait_for("the end of the run", || {
        (done(&world) == once(0..1)).then_some(())
    });
    redis.start_again();
    // A request that the queue fails publishes nothing, so it can be repeated until there is a connection again.
    wait_for("the queue", || {
        let input = json!({"messages": jobs(1..4)});
        (world.server.execute("Send", &input).status == 200).then_some(())
    });
    wait_for("every job", || (done(&world) == once(0..4)).then_some(()));
    wait_for("delivery", || (world.outbox() == 0).then_some(()));
    let runs = runs(&world);
    assert_eq!(runs.len(), 4, "nothing was run twice: {runs:#?}");
    world.redis = Some(redis);
}

/// A version that comes while the old one runs takes over at once, and the old one ends its run.
#[test]
fn the_next_version_takes_over_during_a_run() {
    let world = World::on_postgres(controllers(WORK_CONTRACT), POSTGRES_TABLES);
    send(&world, &[json!({"id": 0, "pause": 6})]);
    pausing(&world);
    deploy_next(&world);
    send(&world, &jobs(1..2));
    wait_for("both jobs", || (done(&world) == once(0..2)).then_some(()));
    let versions = world.column("SELECT version FROM done ORDER BY id");
    assert_eq!(versions, ["1.0.0", "1.1.0"]);
}
