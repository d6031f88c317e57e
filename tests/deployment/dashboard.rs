//! The dashboard: what Grafana needs of it, and each of its queries as Prometheus reads it.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::{read, succeeds};

fn dashboard() -> Value {
    serde_json::from_str(&read("deploy/grafana/magic-runtime.json")).expect("JSON")
}

fn panels(dashboard: &Value) -> &[Value] {
    dashboard["panels"].as_array().expect("panels")
}

/// Panels have numbers of their own and do not lie on one another.
#[test]
fn panels_have_a_place_each() {
    let dashboard = dashboard();
    let mut numbers = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in panels(&dashboard) {
        assert!(
            numbers.insert(panel["id"].as_u64().expect("a number")),
            "{panel}"
        );
        let place = |side: &str| panel["gridPos"][side].as_u64().expect("a place");
        assert!(place("x") + place("w") <= 24, "{panel}");
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(taken.insert((x, y)), "two panels at {x}, {y}: {panel}");
            }
        }
        if panel["type"] != "row" {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
        }
    }
}

/// Every query is one that Prometheus can read, with Grafana's variables in their places.
#[test]
fn queries_are_read_by_prometheus() {
    let dashboard = dashboard();
    let mut queries: Vec<String> = Vec::new();
    for panel in panels(&dashboard) {
        for target in panel["targets"].as_array().into_iter().flatten() {
            queries.push(target["expr"].as_str().expect("a query").to_owned());
        }
    }
    assert!(queries.len() > 25);
    let rules: Vec<Value> = queries
        .iter()
        .enumerate()
        .map(|(number, query)| {
            let query = query
                .replace("$__rate_interval", "5m")
                .replace("$job", "magic")
                .replace("$instance", ".+")
                .replace("$controller", ".+");
            assert!(!query.contains('$'), "an unknown variable: {query}");
            serde_json::json!({"record": format!("panel:query_{number}"), "expr": query})
        })
        .collect();
    let file = tempfile::Builder::new()
        .suffix(".yml")
        .tempfile()
        .expect("a file");
    // JSON is YAML.
    let text = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]}).to_string();
    std::fs::write(file.path(), text).expect("our own file");
    succeeds(
        Command::new("promtool")
            .args(["check", "rules"])
            .arg(file.path()),
        "",
    );
}

/// Variables that queries use are there to choose.
#[test]
fn variables_can_be_chosen() {
    let dashboard = dashboard();
    let listed: BTreeSet<&str> = dashboard["templating"]["list"]
        .as_array()
        .expect("variables")
        .iter()
        .filter_map(|variable| variable["name"].as_str())
        .collect();
    assert_eq!(
        listed,
        BTreeSet::from(["datasource", "job", "instance", "controller"])
    );
}
