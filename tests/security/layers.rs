//! Each layer alone, end to end: with only that layer off by policy, the attack that it stops gets through.
//!
//! Attacks that a second layer would stop as well are in `crates/magic-sandbox/tests`, where both can be
//! taken away without a policy that nobody would write.

use crate::probe::{Suite, probing, reported};
use crate::support::server::{Controllers, Server};
use serde_json::{Value, json};

/// A layer and an attack: the controller, named after the file of its probes, and the probe.
const ATTACKS: [(&str, &str, &str, &str); 7] = [
    ("seccomp", "SystemCalls", "make_sockets", "{}"),
    ("landlock", "Files", "read", r#"{"path": "/"}"#),
    (
        "resource_limits",
        "Resources",
        "open_many",
        r#"{"count": 500}"#,
    ),
    (
        "cgroup_limits",
        "Resources",
        "take_memory",
        r#"{"how": "children", "size": 160}"#,
    ),
    ("uts", "Layers", "see_host_name", "{}"),
    ("user", "Layers", "see_host_user", "{}"),
    ("capabilities", "Layers", "see_bounding_set", "{}"),
];

const CONTRACT: &str = "resources: {memory: 64Mi, timeout: 60s, pids: 24}";

fn policy(off: &[&str]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::with_suffix(".yaml").expect("a file");
    let shipped = include_str!("../../policies/development.yaml");
    let text: String = shipped
        .lines()
        .map(|line| {
            let (layer, level) = line.trim().split_once(": ").unwrap_or_default();
            let is_layer = ["required", "best_effort"].contains(&level);
            match is_layer && off.contains(&layer) {
                true => format!("  {layer}: off\n"),
                // What is not off must stand, or the comparison would compare nothing.
                false => line.replace("best_effort", "required") + "\n",
            }
        })
        .collect();
    std::fs::write(file.path(), text).expect("a policy");
    file
}

/// The files of probes, and the controllers that run them.
const CONTROLLERS: [(&str, &str); 4] = [
    ("system_calls", "SystemCalls"),
    ("files", "Files"),
    ("resources", "Resources"),
    ("layers", "Layers"),
];

/// A server without these layers, with these controllers.
fn start(off: &[&str], wanted: impl Fn(&str) -> bool) -> Server {
    let policy = policy(off);
    let controllers = CONTROLLERS
        .into_iter()
        .filter(|(_, name)| wanted(name))
        .fold(Controllers::new(), |controllers, (file, name)| {
            probing(controllers, file, name, CONTRACT)
        });
    let path = policy.path().to_str().expect("UTF-8");
    Server::start_with(controllers, &[("MAGIC_POLICY", path)])
}

fn run(server: &Server, (_, controller, probe, arguments): (&str, &str, &str, &str)) -> bool {
    let arguments: Value = serde_json::from_str(arguments).expect("JSON");
    let answer = server.execute(controller, &json!({"probe": probe, "arguments": arguments}));
    // What the memory limit ends has no report.
    answer.code() != "E3002" && reported(&answer.body["result"]).0
}

#[test]
fn each_layer_stops_what_passes_without_it() {
    let all = start(&[], |_| true);
    for attack in ATTACKS {
        assert!(
            !run(&all, attack),
            "all layers stand, and this passes: {attack:?}"
        );
        let without = start(&[attack.0], |name| name == attack.1);
        assert!(
            run(&without, attack),
            "{} is off, and this fails: {attack:?}",
            attack.0
        );
    }
}

/// The self-test tells about a missing layer, and which attempt got through.
#[test]
fn the_self_test_sees_what_is_off() {
    for (off, expected) in [(&[][..], true), (&["seccomp"][..], false)] {
        let policy = policy(off);
        let path = policy.path().to_str().expect("UTF-8");
        let suite = Suite::start_with("files", "", Controllers::new(), &[("MAGIC_POLICY", path)]);
        let answer = suite.server.get("/api/self-test");
        let attempts = answer.body["attempts"]
            .as_array()
            .expect("attempts")
            .clone();
        let all_refused = attempts
            .iter()
            .all(|attempt| attempt["refused"] == json!(true));
        assert_eq!(all_refused, expected, "{answer:?}");
        let layers = answer.body["layers"].as_array().expect("layers").clone();
        let seccomp = layers.iter().find(|layer| layer["layer"] == "seccomp");
        let enforced = if expected { "full" } else { "off" };
        assert_eq!(seccomp.expect("the layer")["enforced"], enforced);
    }
}
