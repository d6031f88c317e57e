//! Three nodes with one PostgreSQL, one Redis and a real nginx before them.

mod balancer;
mod hosts;
mod overtaking;
mod wire;

use crate::bundles::{archive, code, contract, telling};
use crate::service::{Answer, KEY, Service, call, verify_audit};
use crate::support::command::migrate;
use crate::support::postgres::Postgres;
use crate::support::redis::Redis;
use crate::support::server::wait_for;
use balancer::Balancer;
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use wire::Wire;

/// A node's files and its process.
struct Node {
    place: tempfile::TempDir,
    service: Service,
}

fn node(name: &str, environment: &[(&str, &str)]) -> Node {
    let place = tempfile::tempdir().expect("a temporary folder");
    let environment = [environment, &[("MAGIC_NODE", name)]].concat();
    let service = Service::start(place.path(), &environment);
    Node { place, service }
}

/// Waits until every node answers in this version, and says how long the slowest took.
#[expect(clippy::print_stderr, reason = "a figure for whoever reads the output")]
fn all_serve(what: &str, nodes: &[Node], version: &str) {
    let began = Instant::now();
    wait_for(what, || {
        let serves = |node: &Node| node.service.execute("Echo", &json!({})).version() == version;
        nodes.iter().all(serves).then_some(())
    });
    eprintln!(
        "{what}: on all nodes after {} ms",
        began.elapsed().as_millis()
    );
}

fn end(nodes: Vec<Node>) {
    for node in nodes {
        assert!(node.service.stop().success());
        verify_audit(node.place.path());
    }
}

#[test]
fn three_nodes_serve_as_one() {
    let postgres = Postgres::start();
    let redis = Redis::start();
    let store = postgres.database("state");
    let wire = Wire::to(postgres.port());
    let through = store.replace(&postgres.port().to_string(), &wire.port().to_string());
    let redis = redis.url();
    let mut nodes: Vec<Node> = [("north", &store), ("east", &store), ("west", &through)]
        .iter()
        .map(|(name, store)| node(name, &[("MAGIC_STORE_URL", store), ("REDIS_URL", &redis)]))
        .collect();
    let balancer = Balancer::before(nodes.iter().map(|node| node.service.address));
    let ask = |method: &str, path: &str, body: &[u8]| {
        call(balancer.address, method, path, KEY, body).expect("nginx answers")
    };
    let execute = || ask("POST", "/api/execute/Echo", b"{}");

    assert_eq!(
        nodes[0]
            .service
            .deploy(&telling("Echo", "1.0.0"), "")
            .status,
        201
    );
    all_serve("deployed", &nodes, "1.0.0");
    assert_eq!(
        ask("POST", "/api/controllers", &telling("Echo", "1.1.0")).status,
        201
    );
    all_serve("deployed through nginx", &nodes, "1.1.0");
    assert_eq!(nodes[1].service.roll_back("Echo", None).version(), "1.0.0");
    all_serve("rolled back", &nodes, "1.0.0");
    for node in &nodes {
        assert_eq!(
            node.service.versions("Echo"),
            ["1.1.0 idle", "1.0.0 active"]
        );
        assert_eq!(node.service.history("Echo").len(), 3);
    }

    // A key that one node made opens all, and one that another revoked opens none.
    let made = nodes[0].service.post(
        "/api/keys",
        "{\"name\": \"caller\", \"roles\": [\"execute\"]}",
    );
    let text = |member: &str| made.body[member].as_str().expect("text").to_owned();
    let with_key = |node: &Node| {
        node.service
            .call("POST", "/api/execute/Echo", &text("key"), b"{}")
    };
    wait_for("the key to be known everywhere", || {
        nodes
            .iter()
            .all(|node| with_key(node).status == 200)
            .then_some(())
    });
    let revoked = nodes[1]
        .service
        .call("DELETE", &format!("/api/keys/{}", text("id")), KEY, b"");
    assert_eq!(revoked.status, 200, "{}", revoked.body);
    wait_for("the key to be revoked everywhere", || {
        nodes
            .iter()
            .all(|node| with_key(node).status == 401)
            .then_some(())
    });

    // Through nginx nobody notices a change.
    let over = AtomicBool::new(false);
    let answered: usize = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut answered = 0;
                    while !over.load(Ordering::SeqCst) {
                        let answer = execute();
                        assert_eq!(answer.status, 200, "{}", answer.body);
                        assert_eq!(answer.body["result"]["told"], answer.body["version"]);
                        answered += 1;
                    }
                    answered
                })
            })
            .collect();
        for version in ["1.2.0", "1.3.0"] {
            assert_eq!(
                ask("POST", "/api/controllers", &telling("Echo", version)).status,
                201
            );
            all_serve("deployed under load", &nodes, version);
            assert_eq!(
                ask("POST", "/api/controllers/Echo/rollback", b"{}").status,
                200
            );
            all_serve("rolled back under load", &nodes, "1.0.0");
        }
        over.store(true, Ordering::SeqCst);
        clients
            .into_iter()
            .map(|client| client.join().expect("no request failed"))
            .sum()
    });
    assert!(answered > 0);

    // One node loses the database: it serves on, changes nothing, and catches up.
    wire.cut();
    let lonely = &nodes[2].service;
    let refused = wait_for("the node to notice", || {
        let answer = lonely.deploy(&telling("Echo", "1.4.0"), "");
        (answer.code() == "E4005").then_some(answer)
    });
    assert_eq!(
        refused.details()["retriable"],
        json!(true),
        "{}",
        refused.body
    );
    assert_eq!(
        nodes[0]
            .service
            .deploy(&telling("Echo", "1.5.0"), "")
            .status,
        201
    );
    all_serve("deployed without the third", &nodes[..2], "1.5.0");
    assert_eq!(lonely.execute("Echo", &json!({})).version(), "1.0.0");
    wire.mend();
    all_serve("caught up", &nodes, "1.5.0");
    assert_eq!(
        nodes[2]
            .service
            .deploy(&telling("Echo", "1.6.0"), "")
            .status,
        201
    );
    all_serve("deployed on the third", &nodes, "1.6.0");

    // One node dies: nginx goes to the others.
    let dead = nodes.remove(1);
    dead.service.kill();
    for _ in 0..20 {
        let answer: Answer = execute();
        assert_eq!(answer.version(), "1.6.0", "{}", answer.body);
    }
    drop(balancer);
    end(nodes);
    verify_audit(dead.place.path());
}

/// Each message starts one run on one of the nodes.
#[test]
fn nodes_share_the_messages_of_a_queue() {
    const MESSAGES: usize = 60;
    let postgres = Postgres::start();
    let redis = Redis::start();
    let (store, database) = (postgres.database("state"), postgres.database("data"));
    let redis = redis.url();
    let environment = [
        ("MAGIC_STORE_URL", store.as_str()),
        ("DATABASE_URL", &database),
        ("REDIS_URL", &redis),
    ];
    let nodes: Vec<Node> = ["north", "east", "west"]
        .iter()
        .map(|name| node(name, &environment))
        .collect();
    migrate(
        nodes[0].place.path(),
        "CREATE TABLE handled (run SERIAL PRIMARY KEY, id INTEGER NOT NULL);",
        &environment,
    );
    let send = "capabilities: [{queue:publish: {queues: [jobs]}}]";
    let sending = "for number in range(input[\"count\"]):\n    await ctx.queue.publish(\"jobs\", {\"id\": number})\nreturn {}";
    let work = "triggers: [{queue: jobs}]\ncapabilities: [{db:write: {tables: [handled]}}, {queue:subscribe: {queues: [jobs]}}]";
    let working = "await ctx.db.insert(\"handled\", {\"id\": input[\"id\"]})\nreturn {}";
    for (name, lines, body) in [("Send", send, sending), ("Work", work, working)] {
        let archive = archive(&contract(name, "1.0.0", lines), &code(body));
        let answer = nodes[0].service.deploy(&archive, "");
        assert_eq!(answer.status, 201, "{}", answer.body);
    }
    wait_for("every node to serve", || {
        let serves = |node: &Node| node.service.get("/api/controllers/Work").status == 200;
        nodes.iter().all(serves).then_some(())
    });
    let answer = nodes[1]
        .service
        .execute("Send", &json!({ "count": MESSAGES }));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let handled = || postgres.sql("data", "SELECT count(*), count(DISTINCT id) FROM handled");
    wait_for("every message to be handled", || {
        handled().ends_with(&format!("|{MESSAGES}")).then_some(())
    });
    assert_eq!(
        handled(),
        format!("{MESSAGES}|{MESSAGES}"),
        "each of them once"
    );
    let by_node: Vec<usize> = nodes
        .iter()
        .map(|node| {
            let records = crate::service::records(node.place.path());
            records
                .iter()
                .filter(|record| record["kind"] == "execution" && record["controller"] == "Work")
                .count()
        })
        .collect();
    assert_eq!(by_node.iter().sum::<usize>(), MESSAGES, "{by_node:?}");
    end(nodes);
}
