//! Three supervisors, each on a host of its own, a PostgreSQL on a fourth and nginx on a fifth; cables are pulled.
//!
//! There are two switches, as in a data centre: requests come by one, and the database is reached by the other. So a node can lose
//! its store while callers still reach it, which is when it has to decide by itself. A pulled cable says nothing to anybody: no
//! connection is closed or refused, packets just do not arrive.

use super::balancer::Balancer;
use crate::bundles::telling;
use crate::service::{Answer, KEY, Service, call, command, verify_audit};
use crate::support::hosts::{Cable, Host, Network};
use crate::support::namespace;
use crate::support::postgres::Postgres;
use crate::support::server::wait_for;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

const NODES: [&str; 3] = ["north", "east", "west"];

/// One of the three.
struct Member {
    place: tempfile::TempDir,
    service: Service,
    /// To nginx and to callers.
    front: Cable,
    /// To the database.
    back: Cable,
}

fn member(network: &mut Network, number: usize, store: &str, staleness: &str) -> Member {
    let host: Host = network.host(NODES[number]);
    let last = 13 + number;
    let front = network.plug(&host, "front", &format!("10.77.0.{last}/24"));
    let back = network.plug(&host, "back", &format!("10.78.0.{last}/24"));
    let place = tempfile::tempdir().expect("a temporary folder");
    // Keys that do not open anything are asked for again and again here.
    let settings = "[http]\nfailed_attempts = 1000000\n";
    std::fs::write(place.path().join("magic.toml"), settings).expect("our own file");
    let environment = [
        ("MAGIC_NODE", NODES[number]),
        ("MAGIC_STORE_URL", store),
        ("MAGIC_KEY_STALENESS", staleness),
    ];
    let listen = format!("10.77.0.{last}:8080");
    let command = command(place.path(), &environment, &["--listen", &listen]);
    Member {
        service: Service::spawn(host.runs(&command)),
        place,
        front,
        back,
    }
}

/// Waits until these nodes answer in this version.
#[expect(clippy::print_stderr, reason = "a figure for whoever reads the output")]
fn all<'a>(
    what: &str,
    members: impl IntoIterator<Item = &'a Member>,
    fits: impl Fn(&Member) -> bool,
) {
    let members: Vec<_> = members.into_iter().collect();
    let began = Instant::now();
    wait_for(what, || {
        members.iter().all(|member| fits(member)).then_some(())
    });
    eprintln!(
        "{what}: on all nodes after {} ms",
        began.elapsed().as_millis()
    );
}

fn serves(version: &'static str) -> impl Fn(&Member) -> bool {
    move |member| member.service.execute("Echo", &json!({})).version() == version
}

fn with_key(member: &Member, key: &str) -> Answer {
    member.service.call("POST", "/api/execute/Echo", key, b"{}")
}

/// A new key that may execute: its text and its name.
fn make_key(member: &Member, name: &str) -> (String, String) {
    let wanted = json!({"name": name, "roles": ["execute"]});
    let made = member.service.post("/api/keys", &wanted.to_string());
    assert_eq!(made.status, 201, "{}", made.body);
    let text = |member: &str| made.body[member].as_str().expect("text").to_owned();
    (text("key"), text("id"))
}

fn revoke(member: &Member, id: &str) {
    let path = format!("/api/keys/{id}");
    let answer = member.service.call("DELETE", &path, KEY, b"");
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// Verifies the logs of all nodes in one call, held against what the state was shown of each.
fn verify_together(store: &str, places: &[&Path]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_magic"))
        .args(["--json", "audit", "verify", "--heads"])
        .args(places.iter().map(|place| place.join("data")))
        .env("MAGIC_STORE_URL", store)
        .current_dir(places[0])
        .output()
        .expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{printed}");
    assert!(!said.contains("not verified here"), "{said}");
    serde_json::from_str(&printed).expect("JSON")
}

#[test]
fn three_hosts_with_pulled_cables_serve_as_one() {
    let test = "nodes::hosts::three_hosts_with_pulled_cables_serve_as_one";
    if !namespace::inside(test, "127.0.0.1 localhost\n", &[]) {
        return;
    }
    let mut network = Network::new();
    network.switch("front", "10.77.0.1/24");
    network.switch("back", "10.78.0.1/24");
    let database = network.host("database");
    network.plug(&database, "back", "10.78.0.12/24");
    let postgres = Postgres::start_on(database.network(), "10.78.0.12");
    let store = postgres.database("state");
    // The third may use what it knows of keys for a second, the others for an hour.
    let members = [
        member(&mut network, 0, &store, "1h"),
        member(&mut network, 1, &store, "1h"),
        member(&mut network, 2, &store, "1s"),
    ];
    let [north, east, west] = &members;
    let balancing = network.host("balancer");
    network.plug(&balancing, "front", "10.77.0.11/24");
    let address: SocketAddr = "10.77.0.11:8080".parse().expect("an address");
    let nodes = members.iter().map(|member| member.service.address);
    let balancer = Balancer::on(&balancing, address, nodes);
    let ask = |method: &str, path: &str, body: &[u8]| {
        call(balancer.address, method, path, KEY, body).expect("nginx answers")
    };
    let deploy = |version: &str| {
        let answer = ask("POST", "/api/controllers", &telling("Echo", version));
        assert_eq!(answer.status, 201, "{}", answer.body);
    };

    // What is changed through nginx, by whichever node, is served by all.
    deploy("1.0.0");
    all("deployed", &members, serves("1.0.0"));
    deploy("1.1.0");
    all("deployed again", &members, serves("1.1.0"));
    let back = ask("POST", "/api/controllers/Echo/rollback", b"{}");
    assert_eq!(back.version(), "1.0.0", "{}", back.body);
    all("rolled back", &members, serves("1.0.0"));

    // A key that is revoked on one node opens none.
    let (lost, id) = make_key(east, "lost");
    all("the key to be known", &members, |member| {
        with_key(member, &lost).status == 200
    });
    revoke(north, &id);
    all("the key to be revoked", &members, |member| {
        with_key(member, &lost).status == 401
    });

    // Two nodes lose the database, and callers still reach them.
    let (kept, _) = make_key(north, "kept");
    let (stolen, stolen_id) = make_key(north, "stolen");
    for key in [&kept, &stolen] {
        all("the keys to be known", &members, |member| {
            with_key(member, key).status == 200
        });
    }
    for cut in [east, west] {
        cut.back.pull();
    }
    for cut in [east, west] {
        let refused = wait_for("the node to notice", || {
            let answer = cut.service.deploy(&telling("Echo", "1.2.0"), "");
            answer.details()["since"].is_string().then_some(answer)
        });
        assert_eq!(
            (refused.status, refused.code(), refused.reason()),
            (500, "E4005", "store")
        );
        assert_eq!(
            refused.details()["retriable"],
            json!(true),
            "{}",
            refused.body
        );
        assert!(refused.message().contains("served on"), "{}", refused.body);
    }
    revoke(north, &stolen_id);
    deploy_on(north, "1.3.0");
    all("deployed without the others", [north], serves("1.3.0"));
    let executed = |member: &Member, version: &str| {
        let answer = member.service.execute("Echo", &json!({}));
        assert_eq!(
            (answer.status, answer.version()),
            (200, version),
            "{}",
            answer.body
        );
    };
    executed(east, "1.0.0");
    executed(west, "1.0.0");
    // What they know of keys holds for as long as their settings say: one of them still believes a key that is revoked.
    wait_for("what the third knows to be too old", || {
        (with_key(west, &kept).status == 401).then_some(())
    });
    for key in [&kept, &stolen] {
        let refused = with_key(west, key);
        assert_eq!(
            (refused.code(), refused.reason()),
            ("E5002", "store"),
            "{}",
            refused.body
        );
        assert_eq!(
            with_key(east, key).status,
            200,
            "it may use what it knows for an hour"
        );
    }
    assert_eq!(with_key(north, &stolen).status, 401);
    assert_eq!(with_key(north, &kept).status, 200);

    // The whole of one host is away: nginx goes to the others.
    east.front.pull();
    for _ in 0..10 {
        assert_eq!(ask("POST", "/api/execute/Echo", b"{}").status, 200);
    }
    east.front.plug_in();

    // They are back, and catch up by themselves.
    for cut in [east, west] {
        cut.back.plug_in();
    }
    all("caught up", &members, serves("1.3.0"));
    all("a key to open all again", &members, |member| {
        with_key(member, &kept).status == 200
    });
    all("the revocation to arrive", &members, |member| {
        with_key(member, &stolen).status == 401
    });
    wait_for("the third to take deploys again", || {
        let answer = west.service.deploy(&telling("Echo", "1.4.0"), "");
        matches!(answer.status, 200 | 201).then_some(())
    });
    all("deployed on the third", &members, serves("1.4.0"));
    assert_eq!(
        north.service.history("Echo"),
        [
            "deploy 1.0.0",
            "deploy 1.1.0",
            "rollback 1.0.0",
            "deploy 1.3.0",
            "deploy 1.4.0"
        ],
        "what was refused left nothing"
    );

    drop(balancer);
    let places = members.map(|member| {
        assert!(member.service.stop().success());
        member.place
    });
    let places = places.each_ref().map(|place| place.path());
    places.iter().for_each(|place| verify_audit(place));
    let verified = verify_together(&store, &places);
    let logs = verified["logs"].as_array().expect("a list");
    let nodes: Vec<_> = logs.iter().map(|log| &log["verified"]["node"]).collect();
    assert_eq!(nodes, NODES, "{verified}");
    assert!(
        logs.iter().all(|log| log["verified"]["seen"].is_u64()),
        "{verified}"
    );
}

fn deploy_on(member: &Member, version: &str) {
    let answer = member.service.deploy(&telling("Echo", version), "");
    assert_eq!(answer.status, 201, "{}", answer.body);
}
