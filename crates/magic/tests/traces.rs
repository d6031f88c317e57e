//! Spans: which are made, what they say, and that nobody waits for whoever takes them.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::Instant;

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use rustix::process::Signal;

use crate::collector::{Collector, attributes};
use crate::folder::{ANY, Folder};
use crate::http_client::Call;
use crate::server::{DEADLINE, Server};

const DEV: &[&str] = &["dev", "--json", "--listen", "127.0.0.1:0"];
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const OTHER: &str = "1bf7651916cd43dd8448eb211c80319c";

fn served(environment: &[(&str, &str)]) -> (Folder, Server) {
    let folder = Folder::new();
    folder.controller(
        "Tried",
        &format!("{ANY}resources: {{ timeout: 2s }}\n"),
        "match input.get('do'):\n    case 'query':\n        await self.db.query('customers')\n    case 'wait':\n        await asyncio.sleep(60)\nreturn {}",
    );
    let server = Server::start_with(&folder, DEV, environment);
    (folder, server)
}

fn ask(server: &Server, input: &str, traceparent: Option<&str>) -> u16 {
    let call = Call::post("/api/execute/Tried", input);
    let call = match traceparent {
        Some(text) => call.header("traceparent", text),
        None => call,
    };
    server.call(&call).status
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

/// A client that does not record is not recorded; one that does is, and so is whoever says nothing. What waits is handed over at
/// the end, long before it would have been otherwise.
#[test]
fn the_client_decides_and_the_end_flushes() {
    let mut collector = Collector::start();
    let (_folder, mut server) = served(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint()),
        ("OTEL_SERVICE_NAME", "billing"),
        ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
    ]);
    let parent = |trace: &str, flags: &str| format!("00-{trace}-b7ad6b7169203331-{flags}");
    assert_eq!(ask(&server, "{}", Some(&parent(OTHER, "00"))), 200);
    assert_eq!(ask(&server, "{}", Some(&parent(TRACE, "01"))), 200);
    assert_eq!(ask(&server, "{}", None), 200);
    assert_eq!(server.call(&Call::get("/api/health")).status, 200);
    server.signal(Signal::TERM);
    assert!(server.wait().success(), "{}", server.talk());
    let spans = collector.all();
    let hexadecimal =
        |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let traces: BTreeSet<String> = spans
        .iter()
        .map(|span| hexadecimal(&span.trace_id))
        .collect();
    assert!(traces.contains(TRACE), "{traces:?}");
    assert!(!traces.contains(OTHER), "{traces:?}");
    assert_eq!(traces.len(), 2, "{traces:?}");
    let requests = named(spans, "POST /api/execute/{controller}");
    assert_eq!(requests.len(), 2, "{requests:#?}");
    // Whoever said nothing began a trace.
    assert!(requests.iter().any(|span| span.parent_span_id.is_empty()));
    assert_eq!(collector.resource["service.name"], "billing");
}

/// What fails is told by its code: the call that was refused, the step that failed, and the request. A timeout ends the step.
#[test]
fn failures_are_told_by_their_codes() {
    let mut collector = Collector::start();
    let (_folder, mut server) = served(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint()),
        ("OTEL_BSP_SCHEDULE_DELAY", "1"),
    ]);
    for (input, code, step) in [
        ("{\"do\": \"query\"}", "E2001", "run"),
        ("{\"do\": \"wait\"}", "E3001", "run"),
        ("[]", "E1003", "validation"),
    ] {
        collector.spans.clear();
        let status = ask(&server, input, None);
        collector.wait("the request's span", |spans| {
            !named(spans, "POST /api/execute/{controller}").is_empty()
        });
        let spans = &collector.spans;
        let request = named(spans, "POST /api/execute/{controller}")[0];
        let told = attributes(request);
        assert_eq!(told["error.type"], code, "{spans:#?}");
        assert_eq!(told["http.response.status_code"], status.to_string());
        assert_eq!(told["magic.controller"], "Tried");
        let failed = |span: &Span| {
            let end = span.status.clone().unwrap_or_default();
            end.code == StatusCode::Error as i32
        };
        assert_eq!(failed(request), status >= 500, "{request:#?}");
        let steps = named(spans, step);
        assert!(failed(steps[0]), "{spans:#?}");
        assert_eq!(attributes(steps[0])["error.type"], code);
        let refused = named(spans, "db.query");
        assert_eq!(refused.len(), usize::from(code == "E2001"), "{spans:#?}");
        for call in refused {
            let told = attributes(call);
            assert_eq!(
                (&*told["error.type"], &*told["magic.capability"]),
                ("E2001", "db:read")
            );
            assert_eq!(call.parent_span_id, steps[0].span_id);
        }
    }
    server.signal(Signal::TERM);
    assert!(server.wait().success(), "{}", server.talk());
}

/// A collector that is not there costs spans, which are counted, and no request.
#[test]
fn nobody_waits_for_the_collector() {
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr());
    let endpoint = format!("http://{}", nobody.expect("a port"));
    let (_folder, server) = served(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_BSP_SCHEDULE_DELAY", "1"),
    ]);
    assert_eq!(ask(&server, "{}", None), 200);
    let until = Instant::now() + DEADLINE;
    loop {
        assert_eq!(ask(&server, "{}", None), 200);
        let figures = server.call(&Call::get("/metrics")).text();
        let dropped = figures.lines().find_map(|line| {
            line.strip_prefix("magic_spans_dropped_total{reason=\"not_taken\"} ")?
                .parse::<f64>()
                .ok()
        });
        if dropped.expect("spans are counted where they are made") > 0.0 {
            assert!(
                figures.contains("magic_spans_exported_total{} 0.0"),
                "{figures}"
            );
            break;
        }
        assert!(Instant::now() < until, "{figures}");
    }
    assert!(
        server.talk().contains("does not take spans"),
        "{}",
        server.talk()
    );
}

/// A message begins a trace of its own, whose first span names the queue and the controller that it started.
#[test]
fn messages_begin_traces() {
    let mut collector = Collector::start();
    let folder = Folder::new();
    folder.controller(
        "Chained",
        &format!(
            "{ANY}capabilities: [\"queue:publish\", \"queue:subscribe\"]\ntriggers: [{{ queue: jobs }}]\n"
        ),
        "if input.get('publish'):\n    await self.queue.publish('jobs', {})\nreturn {}",
    );
    let endpoint = collector.endpoint();
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
        ("OTEL_BSP_SCHEDULE_DELAY", "1"),
    ];
    let server = Server::start_with(&folder, DEV, &environment);
    let published = server.execute("Chained", "{\"publish\": true}");
    assert_eq!(published.status, 200, "{}", published.text());
    collector.wait("the message's span", |spans| {
        !named(spans, "message").is_empty()
    });
    let spans = &collector.spans;
    let message = named(spans, "message")[0];
    assert!(message.parent_span_id.is_empty(), "{message:#?}");
    assert_eq!(message.kind, SpanKind::Consumer as i32);
    let told = attributes(message);
    assert_eq!(told["magic.controller"], "Chained");
    assert!(
        told["messaging.destination.name"].contains("jobs"),
        "{told:?}"
    );
    let below = |span: &&&Span| span.parent_span_id == message.span_id;
    let runs = named(spans, "run");
    assert_eq!(runs.iter().filter(below).count(), 1, "{spans:#?}");
}

/// A setting that cannot be meant is said at the start.
#[test]
fn mistakes_are_refused() {
    let folder = Folder::new();
    folder.echo();
    let output = crate::command::magic(folder.path())
        .args(DEV)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .output()
        .expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("only http/protobuf"),
        "{said}"
    );
}
