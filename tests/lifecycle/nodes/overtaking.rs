//! Two nodes that change one controller at the same moment: neither overwrites what it has not seen, and the one that is too late
//! says what happened and what to type.

use super::{Node, end, node};
use crate::bundles::{archive, code, contract, telling};
use crate::service::{Answer, KEY, deploy_events};
use crate::support::postgres::Postgres;
use crate::support::server::wait_for;
use serde_json::{Value, json};
use std::sync::Barrier;

fn two_nodes(store: &str) -> [Node; 2] {
    ["north", "east"].map(|name| node(name, &[("MAGIC_STORE_URL", store)]))
}

/// Each call gives a version that was not there before.
#[derive(Default)]
struct Versions(u32);

impl Versions {
    fn next(&mut self) -> String {
        self.0 += 1;
        format!("1.{}.0", self.0)
    }
}

/// A version whose trial takes a while, so that somebody else can be faster.
fn slow(version: &str) -> Vec<u8> {
    let code = code("return {}").replace("\n\n\n@", "\nimport time\n\ntime.sleep(1)\n\n\n@");
    archive(&contract("Echo", version, ""), &code)
}

/// While one node tries a version, the other changes what the first has compared it with.
#[test]
fn a_deploy_that_was_overtaken_by_another_node_says_by_what() {
    let postgres = Postgres::start();
    let store = postgres.database("state");
    let nodes = two_nodes(&store);
    let [north, east] = nodes.each_ref().map(|node| &node.service);
    let mut versions = Versions::default();
    let deployed = |archive: &[u8]| {
        let answer = east.deploy(archive, "");
        assert_eq!(answer.status, 201, "{}", answer.body);
    };
    let last = || east.history("Echo").pop().expect("an event");
    for _ in 0..2 {
        deployed(&telling("Echo", &versions.next()));
    }
    for kind in ["deploy", "rollback", "canary_begin", "delete"] {
        // The other may be too late on a machine that stands still for a second; then it is asked again.
        let (version, refused) = wait_for("the other node to be faster", || {
            let (mine, theirs) = (versions.next(), versions.next());
            let mut events = deploy_events(north.address, KEY, &slow(&mine));
            let judged = events.find(|(_, data)| data["step"] == "judged");
            assert!(judged.is_some(), "{mine} was compared with what there was");
            let answer = match kind {
                "rollback" => east.roll_back("Echo", None),
                "delete" => east.delete("Echo"),
                "canary_begin" => east.deploy(&telling("Echo", &theirs), "canary=10"),
                _ => east.deploy(&telling("Echo", &theirs), ""),
            };
            let (name, end) = events.last().expect("an end");
            if name == "error" {
                assert!(matches!(answer.status, 200 | 201), "{}", answer.body);
                return Some((mine, end));
            }
            // It was first, and the other either saw that or was told.
            if !matches!(answer.status, 200 | 201) {
                assert_overtaken(&answer.body, "deploy", &mine);
            }
            if kind == "delete" && answer.status == 200 {
                deployed(&telling("Echo", &versions.next()));
                deployed(&telling("Echo", &versions.next()));
            }
            None
        });
        let event = last();
        let (happened, theirs) = event.split_once(' ').expect("two words");
        assert_eq!(happened, kind, "{refused}");
        assert_overtaken(&refused, kind, theirs);
        let told = north
            .versions("Echo")
            .iter()
            .any(|line| line.starts_with(&version));
        assert!(!told, "nothing of it was done");
        // Who asks again decides on what there is now, and gets there.
        let again = north.deploy(&slow(&version), "");
        assert_eq!(again.status, 201, "{}", again.body);
        assert_eq!(last(), format!("deploy {version}"));
        assert_eq!(east.get("/api/readyz").status, 200);
    }
    end(nodes.into());
}

/// Whether an answer says that this was done by somebody else meanwhile.
fn assert_overtaken(body: &Value, event: &str, version: &str) {
    let error = &body["error"];
    assert_eq!(error["code"], "E4003", "{body}");
    let by = &error["details"]["overtaken_by"];
    assert_eq!(
        *by,
        json!({"event": event, "version": version, "by": "magic:admin"}),
        "{body}"
    );
    assert_eq!(error["details"]["retriable"], json!(true), "{body}");
    let message = error["message"].as_str().expect("text");
    assert!(message.contains("nothing of it was done"), "{message}");
    assert!(message.contains("`magic versions Echo`"), "{message}");
}

/// Both begin at once, again and again: whatever order the two come in, everything that was answered with success is in the history
/// once, nothing else is, and both nodes serve the same.
#[test]
fn two_nodes_race_and_nothing_is_lost_unseen() {
    const ROUNDS: usize = 12;
    let postgres = Postgres::start();
    let store = postgres.database("state");
    let nodes = two_nodes(&store);
    let mut versions = Versions::default();
    for _ in 0..2 {
        let answer = nodes[0]
            .service
            .deploy(&telling("Echo", &versions.next()), "");
        assert_eq!(answer.status, 201, "{}", answer.body);
    }
    let mut made = nodes[0].service.history("Echo").len();
    for round in 0..ROUNDS {
        let begin = Barrier::new(2);
        let archives = [
            telling("Echo", &versions.next()),
            telling("Echo", &versions.next()),
        ];
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let tasks: Vec<_> = nodes
                .iter()
                .zip(&archives)
                .enumerate()
                .map(|(number, (node, archive))| {
                    let begin = &begin;
                    scope.spawn(move || {
                        begin.wait();
                        match (round + number) % 4 {
                            0 => node.service.roll_back("Echo", None),
                            1 => node.service.deploy(archive, "canary=20"),
                            _ => node.service.deploy(archive, ""),
                        }
                    })
                })
                .collect();
            let answers = tasks
                .into_iter()
                .map(|task| task.join().expect("an answer"));
            answers.collect()
        });
        for answer in &answers {
            match answer.status {
                200 if answer.body["changed"] == json!(false) => {}
                200 | 201 => made += 1,
                _ => {
                    let by = &answer.details()["overtaken_by"];
                    assert_eq!(
                        (answer.status, answer.code()),
                        (400, "E4003"),
                        "{}",
                        answer.body
                    );
                    assert!(by["event"].is_string(), "{}", answer.body);
                }
            }
        }
        let failed = answers.iter().filter(|answer| answer.status == 400).count();
        assert!(failed < 2, "one of two is always first: {answers:?}");
        assert_eq!(nodes[0].service.history("Echo").len(), made, "{answers:?}");
        let listed = nodes.each_ref().map(|node| node.service.versions("Echo"));
        assert_eq!(listed[0], listed[1]);
        let active = |lines: &[String]| {
            let line = lines.iter().find(|line| line.ends_with(" active"));
            line.map(|line| line.trim_end_matches(" active").to_owned())
        };
        let active = active(&listed[0]).expect("one is active");
        wait_for("both to serve the same", || {
            let serving = |node: &Node| {
                let listed = node.service.get("/api/controllers/Echo");
                listed.body["version"] == active.as_str()
            };
            nodes.iter().all(serving).then_some(())
        });
    }
    end(nodes.into());
}
