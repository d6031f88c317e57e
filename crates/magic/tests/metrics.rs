//! What is measured: parsed strictly by the reference library, scraped by a real Prometheus, and equal to an independent count.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::folder::Folder;
use crate::http_client::Call;
use crate::openapi::python;
use crate::server::{DEADLINE, Server};

const KEY: &str = "an-administrators-key-of-many-characters";
const CONTRACT: &str = "
input: { type: object, properties: { do: { type: string } }, required: [do] }
output: { type: object }
capabilities: [cache:read, cache:write]
observability: { metrics: [seen_total, size, both] }
resources: { timeout: 2s, memory: 64Mi }
";
const BODY: &str = "
import os
match input['do']:
    case 'count':
        await self.metrics.counter('seen_total').inc()
        await self.metrics.counter('seen_total').inc(2.5)
        await self.metrics.histogram('size').observe(0.3)
        await self.metrics.counter('both').inc()
        await self.metrics.histogram('both').observe(7)
    case 'undeclared':
        await self.metrics.counter('other').inc()
    case 'cache':
        await self.cache.set('a', 1)
        await self.cache.get('a')
    case 'refused':
        await self.db.query('customers')
    case 'raise':
        raise ValueError('no')
    case 'exit':
        os._exit(3)
    case 'wait':
        await asyncio.sleep(60)
return {}
";

fn served() -> (Folder, Server) {
    let folder = Folder::new();
    folder.controller("Meter", CONTRACT, BODY);
    let server = Server::start_with(
        &folder,
        &["serve", "--json", "--listen", "127.0.0.1:0"],
        &[("ADMIN_API_KEY", KEY), ("ENVIRONMENT", "dev")],
    );
    (folder, server)
}

fn with_key(call: Call) -> Call {
    call.header("X-API-Key", KEY)
}

/// Every sample by its name and labels, as the reference library reads them. It refuses what breaks a rule of the format.
fn scrape(server: &Server) -> BTreeMap<String, f64> {
    let answer = server.call(&with_key(Call::get("/metrics")));
    assert_eq!(answer.status, 200);
    let kind = answer.header("content-type").expect("a type");
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    let samples = python(
        "import json, sys\nfrom prometheus_client.openmetrics.parser import text_string_to_metric_families as read\n\
         print(json.dumps({s.name + json.dumps(s.labels, sort_keys=True): s.value for f in read(sys.stdin.read()) for s in f.samples}))\n",
        &answer.text(),
    );
    serde_json::from_str(&samples).expect("numbers by names")
}

fn key(name: &str, labels: &[(&str, &str)]) -> String {
    let mut labels: BTreeMap<&str, &str> = labels.iter().copied().collect();
    if !labels.is_empty() && !labels.contains_key("layer") {
        labels.insert("controller", "Meter");
        labels.insert("version", "1.0.0");
    }
    let labels: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("\"{name}\": \"{value}\""))
        .collect();
    format!("{name}{{{}}}", labels.join(", "))
}

/// After a mixture of requests every count is what the clients counted.
#[test]
fn counts_agree_with_the_clients() {
    let (_folder, server) = served();
    let mut ends: BTreeMap<String, f64> = BTreeMap::new();
    let mixture = [
        ("count", 6),
        ("undeclared", 2),
        ("cache", 5),
        ("refused", 3),
        ("raise", 4),
        ("exit", 2),
        ("wait", 1),
    ];
    std::thread::scope(|scope| {
        let address = server.address();
        let asking: Vec<_> = mixture
            .into_iter()
            .map(|(what, times)| {
                scope.spawn(move || {
                    let body = format!("{{\"do\": \"{what}\"}}");
                    let call = with_key(Call::post("/api/execute/Meter", &body));
                    let ask = |_| match call.send(address).json() {
                        answer if answer["error"].is_null() => "ok".to_owned(),
                        answer => answer["error"]["code"].as_str().expect("a code").to_owned(),
                    };
                    (0..times).map(ask).collect::<Vec<_>>()
                })
            })
            .collect();
        for asked in asking {
            for end in asked.join().expect("no thread panics") {
                *ends.entry(end).or_default() += 1.0;
            }
        }
    });
    let invalid = with_key(Call::post("/api/execute/Meter", "{}"));
    assert_eq!(server.call(&invalid).json()["error"]["code"], "E1003");
    *ends.entry("E1003".to_owned()).or_default() += 1.0;
    // Whoever asks for what does not exist makes no series.
    for name in ["Nobody1", "Nobody2"] {
        let call = with_key(Call::post(&format!("/api/execute/{name}"), "{}"));
        assert_eq!(server.call(&call).status, 404);
    }
    let samples = scrape(&server);
    assert!(!samples.keys().any(|name| name.contains("Nobody")));
    documented_ones_are_there(&samples);
    for (code, count) in &ends {
        let name = key("magic_requests_total", &[("code", code)]);
        assert_eq!(samples.get(&name), Some(count), "{name} in {samples:#?}");
    }
    let all: f64 = ends.values().sum();
    for (name, labels, value) in [
        (
            "magic_request_duration_seconds_count",
            &[("controller", "Meter")][..],
            all,
        ),
        ("magic_worker_kills_total", &[("cause", "exited")], 2.0),
        ("magic_worker_kills_total", &[("cause", "timeout")], 1.0),
        (
            "magic_capability_calls_total",
            &[("capability", "cache:write"), ("code", "ok")],
            5.0,
        ),
        (
            "magic_capability_calls_total",
            &[("capability", "cache:read"), ("code", "ok")],
            5.0,
        ),
        (
            "magic_capability_calls_total",
            &[("capability", "db:read"), ("code", "E2001")],
            3.0,
        ),
        ("seen_total", &[("controller", "Meter")], 21.0),
        ("size_count", &[("controller", "Meter")], 6.0),
        ("size_bucket", &[("le", "0.25")], 0.0),
        ("size_bucket", &[("le", "0.5")], 6.0),
        ("both_sum", &[("controller", "Meter")], 42.0),
        (
            "controller_both_counter_total",
            &[("controller", "Meter")],
            6.0,
        ),
        ("magic_requests_waiting", &[("controller", "Meter")], 0.0),
        ("magic_audit_healthy", &[], 1.0),
        ("magic_outbox_effects", &[], 0.0),
        ("magic_body_memory_bytes", &[], 0.0),
        ("magic_connections", &[], 1.0),
    ] {
        let name = key(name, labels);
        assert_eq!(samples.get(&name), Some(&value), "{name} in {samples:#?}");
    }
    // A place is free again when its worker is gone, which is after the answer.
    let running = key("magic_requests_running", &[("controller", "Meter")]);
    let until = Instant::now() + DEADLINE;
    while scrape(&server).get(&running) != Some(&0.0) {
        assert!(Instant::now() < until, "something still runs");
    }
    // Nobody asked for spans, so none are made and none are counted.
    assert!(!samples.keys().any(|name| name.starts_with("magic_spans")));
    // What is deleted vanishes.
    let delete = with_key(Call::new("DELETE", "/api/controllers/Meter"));
    assert_eq!(server.call(&delete).status, 200);
    assert!(!scrape(&server).keys().any(|name| name.contains("Meter")));
}

/// Every metric of the documents' table, but for those of what this server does not do.
fn documented_ones_are_there(samples: &BTreeMap<String, f64>) {
    const ELSEWHERE: [&str; 3] = [
        "magic_trigger_queue_messages",
        "magic_spans_exported_total",
        "magic_spans_dropped_total",
    ];
    let page = include_str!("../../../docs/observability.md");
    let rows = page.lines().filter(|line| line.starts_with("| `magic_"));
    let names: Vec<&str> = rows
        .flat_map(|row| row.split('|').nth(1).unwrap_or_default().split('`'))
        .filter(|word| word.starts_with("magic_"))
        .filter(|name| !ELSEWHERE.contains(name))
        .collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        let is_there = |key: &String| {
            let rest = key.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with('{') || rest.starts_with("_count{"))
        };
        assert!(samples.keys().any(is_there), "{name} in {samples:#?}");
    }
}

/// A process that ends with the test.
pub(crate) struct Ends(Child);

impl Ends {
    pub(crate) fn new(child: Child) -> Self {
        Self(child)
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A real Prometheus scrapes with a bearer key of the role `read`, and answers a query with what was counted.
#[test]
fn prometheus_scrapes() {
    let (folder, server) = served();
    let call = with_key(Call::post("/api/execute/Meter", "{\"do\": \"count\"}"));
    assert_eq!(server.call(&call).status, 200);
    let wanted = "{\"name\": \"prometheus\", \"roles\": [\"read\"]}";
    let made = server
        .call(&with_key(Call::post("/api/keys", wanted)))
        .json();
    let read_key = made["key"].as_str().expect("a key");
    let config = folder.write(
        "prometheus.yml",
        &format!(
            "global: {{ scrape_interval: 1s }}\nscrape_configs:\n  - job_name: magic\n    authorization: {{ credentials: {read_key} }}\n    static_configs: [{{ targets: [\"{}\"] }}]\n",
            server.address()
        ),
    );
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let address = port.expect("a free port");
    let _prometheus = Ends::new(prometheus(&config, folder.path(), &address.to_string()));
    let query = Call::get("/api/v1/query?query=seen_total");
    let until = Instant::now() + DEADLINE;
    loop {
        let listens = std::net::TcpStream::connect(address).is_ok();
        if listens {
            let answer = query.send(address);
            if let Some(found) = (answer.status == 200)
                .then(|| answer.json()["data"]["result"][0].clone())
                .filter(|found| !found.is_null())
            {
                assert_eq!(found["value"][1], "3.5");
                assert_eq!(found["metric"]["controller"], "Meter");
                return;
            }
        }
        assert!(Instant::now() < until, "nothing was scraped");
        std::thread::park_timeout(std::time::Duration::from_millis(100));
    }
}

pub(crate) fn prometheus(config: &Path, folder: &Path, address: &str) -> Child {
    Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.join("tsdb").display()
        ))
        .arg(format!("--web.listen-address={address}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("type make test-tools first")
}
