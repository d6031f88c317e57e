//! Scrape configuration and alert rules: read by Prometheus's own tool, played against invented series, and about metrics that exist.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::server::{Controllers, Server};
use crate::{read, root, succeeds, yaml_file};

const RULES: &str = "deploy/prometheus/rules.yml";

#[test]
fn prometheus_reads_configuration_and_rules() {
    let root = root();
    let rules = root.join(RULES);
    succeeds(
        Command::new("promtool").args(["check", "rules"]).arg(rules),
        "",
    );
    // The key of the scrape is made where Prometheus runs, so that here only the syntax can be looked at.
    succeeds(
        Command::new("promtool")
            .args([
                "check",
                "config",
                "--syntax-only",
                "deploy/prometheus/prometheus.yml",
            ])
            .current_dir(&root),
        "",
    );
}

#[test]
fn alerts_fire_for_what_is_in_trouble_and_for_nothing_else() {
    succeeds(
        Command::new("promtool")
            .args(["test", "rules", "tests/deployment/rules.test.yml"])
            .current_dir(root()),
        "",
    );
    // An alert that no case awaits could say anything.
    let cases = read("tests/deployment/rules.test.yml");
    let alerts = alerts();
    assert!(alerts.len() > 10, "{alerts:?}");
    for alert in alerts {
        assert!(
            cases.contains(&format!("alertname: {alert}\n")),
            "no case awaits {alert}"
        );
    }
}

fn alerts() -> Vec<String> {
    let rules = yaml_file(RULES);
    let groups = rules["groups"].as_array().expect("groups");
    groups
        .iter()
        .flat_map(|group| group["rules"].as_array().expect("rules"))
        .filter_map(|rule| rule["alert"].as_str())
        .map(str::to_owned)
        .collect()
}

/// Names that begin with `magic_`, wherever they stand in a text, without those of recorded series.
fn metrics_named_in(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let part_of_name =
        |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':';
    for word in text.split(|letter| !part_of_name(letter)) {
        if word.starts_with("magic_") {
            names.insert(word.to_owned());
        }
    }
    names
}

/// What a scrape of a server has: the names of its samples, and of those that a metric without samples would have.
fn metrics_of_a_server() -> BTreeSet<String> {
    let contract =
        "capabilities: [cache:write, queue:publish, queue:subscribe]\ntriggers: [{queue: jobs}]\n";
    let code = "import os\n\nfrom magic import Controller, contract\n\n\n\
                @contract('./contract.yaml')\n\
                class Metered(Controller):\n    async def execute(self, input):\n        if 'end' in input:\n            os._exit(3)\n        \
                await self.cache.set('a', 1)\n        return {}\n";
    let server = Server::start(Controllers::new().with("Metered", contract, code));
    // Only ends that took place have a series: one of each kind that a metric is about.
    let answer = server.execute("Metered", &json!({}));
    assert_eq!(answer.status, 200, "{answer:?}");
    let ended = server.execute("Metered", &json!({"end": true}));
    assert_eq!(ended.reason(), "exited", "{ended:?}");
    let url = format!("http://{}/metrics", server.address);
    let text = succeeds(Command::new("curl").args(["--silent", "--fail", &url]), "");
    let mut names: BTreeSet<String> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .map(str::to_owned)
        .collect();
    for line in text.lines() {
        if let Some((name, "counter")) = line
            .strip_prefix("# TYPE ")
            .and_then(|line| line.split_once(' '))
        {
            names.insert(format!("{name}_total"));
        }
    }
    names
}

#[test]
fn every_metric_that_is_looked_at_exists() {
    let existing = metrics_of_a_server();
    assert!(existing.contains("magic_requests_total"), "{existing:?}");
    let mut looked_at = 0;
    // What is made of others, and stands beside them: a series of the adapter, and a recorded one.
    let made = [
        "magic_request_duration_p95_seconds",
        "magic_requests_failed",
    ];
    for path in [
        RULES,
        "tests/deployment/rules.test.yml",
        "deploy/grafana/magic-runtime.json",
        "deploy/kubernetes/prometheus-adapter.yaml",
        "deploy/kubernetes/magic-runtime/templates/autoscaling.yaml",
    ] {
        for name in metrics_named_in(&read(path)) {
            if made.contains(&name.as_str()) {
                continue;
            }
            looked_at += 1;
            assert!(
                existing.contains(&name),
                "{path} looks at {name}, which the server does not have; it has {existing:#?}"
            );
        }
    }
    assert!(looked_at > 30, "{looked_at}");
}

/// A page that lists a metric has it from somewhere, and one that exists is listed.
#[test]
fn the_page_lists_the_metrics_that_exist() {
    let page = read("docs/observability.md");
    for name in metrics_of_a_server() {
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|ending| {
                name.strip_suffix(ending)
                    .filter(|rest| rest.ends_with("_seconds"))
            })
            .unwrap_or(&name);
        if family.starts_with("magic_") {
            assert!(
                page.contains(&format!("`{family}`")),
                "{family} is not on the page"
            );
        }
    }
}

/// The scrape is what compose.yaml has in the network: its service, its port, and the file that it mounts.
#[test]
fn the_scrape_is_that_of_compose() {
    let scrape = yaml_file("deploy/prometheus/prometheus.yml");
    let job = &scrape["scrape_configs"][0];
    let compose = yaml_file("deploy/docker/compose.yaml");
    assert_eq!(job["job_name"], "magic");
    assert_eq!(job["static_configs"][0]["targets"], json!(["runtime:8080"]));
    assert!(compose["services"]["runtime"].is_object());
    let mounted: Vec<&str> = compose["services"]["prometheus"]["volumes"]
        .as_array()
        .expect("volumes")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let key = job["authorization"]["credentials_file"]
        .as_str()
        .expect("a file");
    for file in [key, "rules.yml"] {
        let inside = format!(":/etc/prometheus/{file}:ro");
        assert!(
            mounted.iter().any(|mount| mount.ends_with(&inside)),
            "{inside}: {mounted:?}"
        );
    }
}
