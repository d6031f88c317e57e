//! Class P: what a fork copies. Nothing of one request is seen by another, and what must differ differs.

use crate::probe::{Probe, Suite, python_with_numpy};
use crate::support::server::{Controllers, wait_for};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

fn start(contract: &str, environment: &[(&str, &str)]) -> Suite {
    Suite::start_with("fork_state", contract, Controllers::new(), environment)
}

/// What a probe reported as JSON text.
fn object(suite: &Suite, probe: &str) -> Map<String, Value> {
    let (_, text) = suite.report(probe, &json!({}));
    serde_json::from_str(&text).expect("an object")
}

/// Globals, environment, folder, mask, handlers, import path, patched modules: gone with their request.
#[test]
fn nothing_is_left_for_a_later_request() {
    for isolation in ["request", "pristine"] {
        let suite = start(&format!("isolation: {isolation}\nconcurrency: 4"), &[]);
        let mut probes = Vec::new();
        for _ in 0..4 {
            probes.push(Probe::new(
                "pollute",
                json!({}),
                crate::probe::Inside::Works,
            ));
            let observe = Probe::refused("observe", json!({}), &["clean"]);
            probes.push(observe.outside(json!({"pollute_first": true})));
        }
        suite.check(&probes);
        // Beside one that is still running, too.
        let (_connection, _) = suite.hold("watched");
        assert_eq!(suite.report("observe", &json!({})).1, "clean");
    }
}

/// Values drawn in many workers, some at once: no two are the same, whatever the generator.
#[test]
fn no_two_workers_draw_the_same() {
    let python = python_with_numpy();
    let python = python.to_str().expect("UTF-8");
    let suite = start("concurrency: 8", &[("MAGIC_PYTHON", python)]);
    let drawn: Vec<Map<String, Value>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| (0..4).map(|_| object(&suite, "draw")).collect::<Vec<_>>()))
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("a report"))
            .collect()
    });
    assert!(
        drawn[0].contains_key("numpy"),
        "the interpreter has no numpy"
    );
    for kind in drawn[0].keys() {
        let values: BTreeSet<String> = drawn
            .iter()
            .map(|values| values[kind].to_string())
            .collect();
        assert_eq!(values.len(), drawn.len(), "{kind} was drawn twice");
    }
}

/// Workers of one template share its layout; another template has another one. A crash is what rotates.
#[test]
fn a_crash_brings_another_layout_and_hash_seed() {
    let suite = start("", &[]);
    let before = object(&suite, "layout");
    let crash = suite.run("die", &json!({}));
    assert_eq!((crash.code(), crash.reason()), ("E3003", "signal"));
    let after = wait_for("another template", || {
        let layout = object(&suite, "layout");
        (layout["hash"] != before["hash"]).then_some(layout)
    });
    for place in ["library", "heap", "object", "local"] {
        assert_ne!(after[place], before[place], "{place} did not move");
    }
}

/// Every interpreter of `pristine` isolation has a layout of its own.
#[test]
fn pristine_requests_share_no_layout() {
    let suite = start("isolation: pristine", &[]);
    let layouts: Vec<_> = (0..4).map(|_| object(&suite, "layout")).collect();
    for place in layouts[0].keys() {
        let values: BTreeSet<String> = layouts
            .iter()
            .map(|layout| layout[place].to_string())
            .collect();
        assert_eq!(values.len(), layouts.len(), "{place}: {layouts:?}");
    }
}
