//! The chart, rendered by Helm's own engine and judged by the schemas of Kubernetes.

use serde_json::{Value, json};

use crate::support::command;
use crate::{read, succeeds, tool, yaml, yaml_file};

/// What Helm makes of the chart with each of these values.
fn rendered(values: &[Value]) -> Vec<Value> {
    let printed = succeeds(
        tool("python").arg("tests/deployment/render.py"),
        &Value::from(values).to_string(),
    );
    // Helm's engine tells of links on standard output before the answer.
    let line = printed.lines().last().expect("an answer");
    serde_json::from_str(line).expect("JSON")
}

fn documents(rendered: &Value) -> &[Value] {
    rendered["documents"]
        .as_array()
        .unwrap_or_else(|| panic!("{rendered}"))
}

fn document<'a>(rendered: &'a Value, kind: &str) -> &'a Value {
    documents(rendered)
        .iter()
        .find(|document| document["kind"] == kind)
        .unwrap_or_else(|| panic!("no {kind} in {rendered}"))
}

fn least() -> Value {
    json!({"secret": {"existing": "magic"}})
}

fn everything() -> Value {
    json!({
        "secret": {"existing": "magic"},
        "controllerSecrets": {"existing": "controllers"},
        "environment": {"ALLOWED_ORIGINS": "https://example.org"},
        "policy": {"layers": {"cgroup_limits": "best_effort", "landlock": "best_effort"}},
        "sandbox": {"runtimeClassName": "magic", "hostUsers": false, "appArmor": {"type": ""}},
        "podAnnotations": {"io.kubernetes.cri-o.cgroup2-mount-hierarchy-rw": "true"},
        "ingress": {"enabled": true},
        "autoscaling": {"enabled": true},
        "monitoring": {"serviceMonitor": true, "rules": true, "labels": {"release": "prometheus"}},
        "networkPolicy": {"enabled": true, "from": [{"namespaceSelector": {}}]},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "magic", "operator": "Exists"}],
        "persistence": {"storageClassName": "fast"},
    })
}

fn with(mut values: Value, part: &str, value: Value) -> Value {
    values[part] = value;
    values
}

/// Whatever is switched on, Helm and the schemas have nothing to say.
#[test]
fn manifests_are_what_kubernetes_reads() {
    let keda = with(
        everything(),
        "autoscaling",
        json!({"enabled": true, "engine": "keda"}),
    );
    let own = json!({"secret": {"create": true, "values": {"ADMIN_API_KEY": "k"}}, "policy": {"text": "name: own\n"}});
    let answers = rendered(&[least(), everything(), keda, own]);
    for answer in &answers {
        assert_eq!(answer["problems"], json!([]), "{answer}");
        assert_eq!(answer["lint"]["errors"], json!([]), "{answer}");
        for message in answer["lint"]["messages"].as_array().expect("messages") {
            // 1 is a hint: that a chart may have a picture.
            assert_eq!(message["severity"], 1, "{message}");
        }
    }
    assert_eq!(documents(&answers[1]).len(), 11, "{}", answers[1]);
    assert_eq!(
        document(&answers[2], "ScaledObject")["spec"]["triggers"]
            .as_array()
            .map(Vec::len),
        Some(3)
    );
    assert_eq!(
        document(&answers[3], "Secret")["stringData"]["ADMIN_API_KEY"],
        "k"
    );
}

/// Pods have nothing of what Kubernetes' level `restricted` denies, but a profile of their own where it asks for one.
#[test]
fn pods_have_the_least_that_the_sandbox_needs() {
    for answer in rendered(&[least(), everything()]) {
        let pod = &document(&answer, "StatefulSet")["spec"]["template"]["spec"];
        for part in ["hostNetwork", "hostPID", "hostIPC"] {
            assert_eq!(pod[part], Value::Null, "{pod}");
        }
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(
            pod["securityContext"]["seccompProfile"]["type"],
            "Localhost"
        );
        for volume in pod["volumes"].as_array().expect("volumes") {
            assert_eq!(volume["hostPath"], Value::Null, "{volume}");
        }
        let containers = pod["containers"].as_array().expect("containers");
        assert_eq!(containers.len(), 1);
        let own = &containers[0]["securityContext"];
        assert_eq!(own["allowPrivilegeEscalation"], false);
        assert_eq!(own["privileged"], false);
        assert_eq!(own["readOnlyRootFilesystem"], true);
        assert_eq!(own["capabilities"], json!({"drop": ["ALL"]}));
        for (probe, path) in [
            ("startupProbe", "/api/readyz"),
            ("readinessProbe", "/api/readyz"),
            ("livenessProbe", "/api/health"),
        ] {
            assert_eq!(containers[0][probe]["httpGet"]["path"], path);
        }
    }
}

/// A word that is misspelt, and a service without secrets, are refused with what is wrong; so is what would weaken the sandbox in passing.
#[test]
fn values_that_make_no_sense_are_refused() {
    let cases = [
        (with(least(), "replica", json!(3)), "replica"),
        (with(least(), "replicas", json!(0)), "replicas"),
        (
            with(
                least(),
                "sandbox",
                json!({"seccomp": {"type": "RuntimeDefault"}}),
            ),
            "seccomp",
        ),
        (
            with(least(), "environment", json!({"ADMIN_API_KEY": "k"})),
            "ADMIN_API_KEY",
        ),
        (
            with(least(), "policy", json!({"layers": {"seccomp": "off"}})),
            "policy",
        ),
        (json!({}), "secret.existing"),
    ];
    let values: Vec<Value> = cases.iter().map(|(values, _)| values.clone()).collect();
    for (answer, (values, word)) in rendered(&values).iter().zip(&cases) {
        let refused = answer["refused"]
            .as_str()
            .unwrap_or_else(|| panic!("{values} is taken"));
        assert!(refused.contains(word), "{values}: {refused}");
    }
}

/// The policy in the cluster is the production policy, which the real program reads; with the layers that the values name.
#[test]
fn the_policy_is_the_production_policy() {
    let answers = rendered(&[least(), everything()]);
    let text = |answer| {
        document(answer, "ConfigMap")["data"]["policy.yaml"]
            .as_str()
            .map(str::to_owned)
    };
    let strict = text(&answers[0]).expect("a policy");
    assert_eq!(yaml(&strict)[0], yaml_file("policies/production.yaml"));
    let loose = text(&answers[1]).expect("a policy");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("policy.yaml");
    std::fs::write(&file, &loose).expect("our own file");
    let shown = command::magic(
        folder.path(),
        &["--policy", file.to_str().expect("UTF-8"), "policy", "show"],
        &[],
    );
    for layer in ["cgroup_limits", "landlock"] {
        assert!(shown.contains(&format!("{layer}: best_effort")), "{shown}");
    }
    assert!(shown.contains("seccomp: required"), "{shown}");
}

/// The rules in the cluster are the rules beside it.
#[test]
fn the_rules_are_those_of_prometheus() {
    let answer = rendered(&[everything()]).remove(0);
    let rule = document(&answer, "PrometheusRule");
    assert_eq!(rule["spec"], yaml_file("deploy/prometheus/rules.yml"));
}

/// The autoscaler asks for metrics that the adapter makes.
#[test]
fn the_autoscaler_asks_for_what_the_adapter_makes() {
    let answer = rendered(&[everything()]).remove(0);
    let adapter = yaml_file("deploy/kubernetes/prometheus-adapter.yaml");
    let made = |kind: &str| -> Vec<Value> {
        let rules = adapter["rules"][kind].as_array().expect("rules");
        rules
            .iter()
            .map(|rule| rule["name"]["as"].clone())
            .collect()
    };
    let metrics = document(&answer, "HorizontalPodAutoscaler")["spec"]["metrics"].clone();
    let metrics = metrics.as_array().expect("metrics");
    assert_eq!(metrics.len(), 3);
    for metric in metrics {
        let (kind, part) = match metric["type"].as_str() {
            Some("Pods") => ("custom", "pods"),
            Some("External") => ("external", "external"),
            other => panic!("{other:?}"),
        };
        let name = &metric[part]["metric"]["name"];
        assert!(made(kind).contains(name), "{name} in {adapter}");
    }
}

/// The chart is of the release that it lies beside.
#[test]
fn the_chart_has_our_version() {
    let chart = yaml_file("deploy/kubernetes/magic-runtime/Chart.yaml");
    let version = chart["appVersion"].as_str().expect("a version");
    assert!(
        read("Cargo.toml").contains(&format!("version = \"{version}\"\n")),
        "{version}"
    );
}
