//! Everything at once: nginx with TLS, PostgreSQL, Redis, Prometheus and a receiver of traces around one runtime.

use std::net::TcpListener;
use std::time::Instant;

use serde_json::Value;

use crate::collector::{Collector, attributes};
use crate::command::magic;
use crate::folder::Folder;
use crate::http_client::Call;
use crate::metrics::{Ends, prometheus};
use crate::nginx::Nginx;
use crate::postgres::Postgres;
use crate::redis::Redis;
use crate::server::{DEADLINE, Server};

const KEY: &str = "an-administrators-key-of-many-characters";
const CONTRACT: &str = "
input: { type: object, required: [id, card], properties: { id: { type: string }, card: { type: string } } }
output: { type: object }
capabilities:
  - db:read: { tables: [orders] }
  - db:write: { tables: [orders] }
  - cache:read
  - cache:write
  - queue:publish: { queues: [orders] }
  - secrets:read: { keys: [SEAL] }
observability: { log_fields: [id, card], metrics: [orders_total] }
";
const BODY: &str = "
await self.secrets.get('SEAL')
await self.db.insert('orders', {'id': input['id']})
count = await self.db.count('orders')
await self.cache.set('last', input['id'])
last = await self.cache.get('last')
await self.queue.publish('orders', {'id': input['id']})
await self.metrics.counter('orders_total').inc(3)
return {'count': count, 'last': last}
";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
/// Of the input, and in no span.
const ORDER: &str = "order-58c1";
/// A secret of the operator's that a caller happens to send: in no log.
const SEAL: &str = "the-seal-of-the-house";

/// Asks Prometheus until it has scraped that; the number.
fn scraped(prometheus: std::net::SocketAddr, query: &str) -> String {
    let call = Call::get(&format!("/api/v1/query?query={query}"));
    let until = Instant::now() + DEADLINE;
    loop {
        if std::net::TcpStream::connect(prometheus).is_ok() {
            let answer = call.send(prometheus);
            if answer.status == 200
                && let Value::String(number) = &answer.json()["data"]["result"][0]["value"][1]
            {
                return number.clone();
            }
        }
        assert!(Instant::now() < until, "{query} was not scraped");
        std::thread::park_timeout(std::time::Duration::from_millis(100));
    }
}

/// Makes the table, as an operator would.
fn migrate(folder: &Folder, database: &str) {
    folder.write(
        "migrations/0001_orders.sql",
        "CREATE TABLE orders (id text PRIMARY KEY);",
    );
    let output = magic(folder.path())
        .arg("migrate")
        .env("DATABASE_URL", database)
        .output()
        .expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

fn config(folder: &Folder, server: &Server) -> std::path::PathBuf {
    let address = server.address();
    folder.write(
        "prometheus.yml",
        &format!(
            "global: {{ scrape_interval: 1s }}\nscrape_configs:\n  - job_name: magic\n    authorization: {{ credentials: {KEY} }}\n    static_configs: [{{ targets: [\"{address}\"] }}]\n"
        ),
    )
}

/// A request passes nginx and comes to rest in PostgreSQL and Redis; Prometheus has counted it, and its spans are one tree below
/// the client's, which names it as nginx does.
#[test]
fn one_request_is_seen_everywhere() {
    let (postgres, redis, mut collector) = (Postgres::start(), Redis::start(), Collector::start());
    let (database, state) = (postgres.database("controllers"), postgres.database("state"));
    let folder = Folder::new();
    folder.controller("Order", CONTRACT, BODY);
    migrate(&folder, &database);
    let server = Server::start_with(
        &folder,
        &["serve", "--json", "--listen", "127.0.0.1:0"],
        &[
            ("ENVIRONMENT", "prod"),
            ("ADMIN_API_KEY", KEY),
            ("DATABASE_URL", &database),
            ("MAGIC_STORE_URL", &state),
            ("REDIS_URL", &redis.url()),
            ("MAGIC_SECRET_SEAL", SEAL),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint()),
            ("OTEL_BSP_SCHEDULE_DELAY", "1"),
        ],
    );
    let nginx = Nginx::before(&server, &folder);
    let key = format!("X-API-Key: {KEY}");
    let body = format!(r#"{{"id": "{ORDER}", "card": "{SEAL}"}}"#);
    let traceparent = format!("traceparent: 00-{TRACE}-{PARENT}-01");
    let json = "content-type: application/json";
    let arguments = ["-H", &key, "-H", json, "-H", &traceparent, "-d", &body];
    let answered = nginx.fetch(&arguments, "/api/execute/Order");
    let answered: Value = serde_json::from_str(&answered).expect("JSON");
    assert_eq!(answered["result"]["last"], ORDER, "{answered}");
    let request_id = answered["request_id"].as_str().expect("an id");

    // Where it came to rest. What is held for the queue is delivered after the answer.
    assert_eq!(postgres.sql("controllers", "SELECT id FROM orders"), ORDER);
    let until = Instant::now() + DEADLINE;
    while !redis.command(&["KEYS", "magic:queue:*"]).contains("orders") {
        assert!(Instant::now() < until, "{}", redis.command(&["KEYS", "*"]));
    }

    // nginx made the id, since the client sent none.
    let log = std::fs::read_to_string(nginx.folder().join("magic.log")).expect("a log");
    let id = format!(r#""request_id":"{request_id}""#);
    assert!(log.contains(&id), "{log}");

    tree(&mut collector, request_id);
    remembered(&server, request_id);
    lines(&server, request_id);

    let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let address = address.expect("a free port");
    let started = prometheus(
        &config(&folder, &server),
        folder.path(),
        &address.to_string(),
    );
    let _prometheus = Ends::new(started);
    assert_eq!(scraped(address, "orders_total"), "3");
    let ok = "magic_requests_total%7Bcode%3D%22ok%22%7D";
    assert_eq!(scraped(address, ok), "1");
    // With a condition, since the last of them may be counted a moment after they came in.
    scraped(address, "magic_spans_exported_total%3E0");
}

/// All spans are below the client's, calls below the step that makes them, and none repeats what was sent.
fn tree(collector: &mut Collector, request_id: &str) {
    let root = "POST /api/execute/{controller}";
    collector.wait("the request's span", |spans| {
        spans.iter().any(|span| span.name == root)
    });
    let spans = &collector.spans;
    let find = |name: &str| {
        let mut found = spans.iter().filter(|span| span.name == name);
        match (found.next(), found.next()) {
            (Some(span), None) => span,
            _ => panic!("not one {name}: {spans:#?}"),
        }
    };
    let number =
        |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let request = find(root);
    assert_eq!(number(&request.parent_span_id), PARENT);
    let told = attributes(request);
    for (name, value) in [
        ("magic.request_id", request_id),
        ("magic.controller", "Order"),
        ("magic.version", "1.0.0"),
        ("http.response.status_code", "200"),
    ] {
        assert_eq!(told[name], value);
    }
    let steps = [
        "admission",
        "validation",
        "worker",
        "run",
        "output",
        "commit",
        "reply",
    ];
    for name in steps {
        assert_eq!(find(name).parent_span_id, request.span_id, "{name}");
    }
    let calls = [
        ("secrets.get", "secrets:read"),
        ("db.insert", "db:write"),
        ("db.count", "db:read"),
        ("cache.set", "cache:write"),
        ("cache.get", "cache:read"),
        ("queue.publish", "queue:publish"),
    ];
    let run = &find("run").span_id;
    for (name, capability) in calls {
        let call = find(name);
        assert_eq!(&call.parent_span_id, run, "{name}");
        assert_eq!(attributes(call)["magic.capability"], capability);
    }
    assert_eq!(spans.len(), 1 + steps.len() + calls.len(), "{spans:#?}");
    assert!(spans.iter().all(|span| number(&span.trace_id) == TRACE));
    let everything = format!("{spans:?}");
    for sent in [ORDER, SEAL, KEY] {
        assert!(!everything.contains(sent), "{everything}");
    }
}

/// What is remembered of the execution names its trace.
fn remembered(server: &Server, request_id: &str) {
    let call = Call::get(&format!("/api/executions/{request_id}")).header("X-API-Key", KEY);
    let until = Instant::now() + DEADLINE;
    loop {
        let answer = server.call(&call);
        if answer.status == 200 {
            let text = answer.text();
            assert!(text.contains(TRACE), "{text}");
            return;
        }
        assert!(Instant::now() < until, "{}", answer.text());
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
}

/// The log has a line about the request with everything that names it, what the contract asks for, and no secret.
fn lines(server: &Server, request_id: &str) {
    let until = Instant::now() + DEADLINE;
    let line = loop {
        let talk = server.talk();
        assert!(!talk.contains(SEAL), "{talk}");
        let lines = talk
            .lines()
            .map_while(|line| serde_json::from_str(line).ok());
        let about = lines.filter(|line: &Value| line["request_id"] == request_id);
        let answered = about.into_iter().find(|line| line["message"] == "answered");
        if let Some(line) = answered {
            break line;
        }
        assert!(Instant::now() < until, "{talk}");
    };
    assert_eq!(line["trace_id"], TRACE, "{line}");
    assert_eq!(line["controller"], "Order", "{line}");
    assert_eq!(line["version"], "1.0.0", "{line}");
    assert_eq!(line["input"]["id"], ORDER, "{line}");
    assert!(line["input"]["card"].is_string(), "{line}");
}
