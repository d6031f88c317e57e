//! What is sampled, and that a full queue and an absent collector cost nothing but spans.

use super::*;
use magic_broker::{SpanEnd, TraceContext};
use std::sync::mpsc;

fn options(endpoint: &str) -> OtlpOptions {
    OtlpOptions {
        endpoint: endpoint.to_owned(),
        timeout: Duration::from_secs(30),
        authorities: None,
        sampling: Sampling::Always,
        follows_parent: true,
        resource: vec![("service.name".to_owned(), "tested".to_owned())],
        queue: 4,
        batch: 4,
        delay: Duration::from_millis(1),
    }
}

/// A port that refuses connections.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/v1/traces", listener.local_addr().unwrap())
}

fn tell(sink: &Arc<dyn SpanSink>) {
    let kind = magic_broker::SpanKind::Server;
    let trace = TraceContext::begin(sink, None, "one", kind).unwrap();
    trace.end(SpanEnd::Fine);
}

/// A client that records decides, and one that does not; without a client the ratio does, and where nobody is followed always.
#[tokio::test]
async fn who_samples() {
    let id = |number| TraceId::of(number).unwrap();
    // The ratio looks at the lower half of the number.
    let (low, high) = (id(1), id(u128::from(u64::MAX)));
    for (sampling, follows_parent, trace, parent, expected) in [
        (Sampling::Always, true, high, None, true),
        (Sampling::Always, true, high, Some(false), false),
        (Sampling::Always, false, high, Some(false), true),
        (Sampling::Never, true, low, None, false),
        (Sampling::Never, true, low, Some(true), true),
        (Sampling::Never, false, low, Some(true), false),
        (Sampling::Ratio(0.5), true, low, None, true),
        (Sampling::Ratio(0.5), true, high, None, false),
        (Sampling::Ratio(0.5), true, high, Some(true), true),
        (Sampling::Ratio(0.5), false, high, Some(true), false),
    ] {
        let options = OtlpOptions {
            sampling,
            follows_parent,
            ..options(&nobody())
        };
        let otlp = Otlp::start(options).unwrap();
        let told = format!("{sampling:?} {follows_parent} {trace} {parent:?}");
        assert_eq!(otlp.samples(trace, parent), expected, "{told}");
    }
}

/// Every span is counted once: handed over, or dropped for one of two reasons. Taking one never waits, though the collector does.
#[tokio::test(flavor = "multi_thread")]
async fn every_span_is_counted() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    let (asked, is_asked) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    // Takes the first connection, and is silent until it is told; then it hangs up.
    let collector = std::thread::spawn(move || {
        let connection = listener.accept().unwrap();
        asked.send(()).unwrap();
        let _ = may_go_on.recv();
        drop((connection, listener));
    });
    let otlp = Arc::new(Otlp::start(options(&endpoint)).unwrap());
    let sink: Arc<dyn SpanSink> = otlp.clone();
    tell(&sink);
    is_asked.recv().unwrap();
    // One batch is with the collector; four wait, and the others find no room.
    for _ in 0..10 {
        tell(&sink);
    }
    let counts = otlp.counts();
    assert_eq!((counts.exported, counts.queue_full), (0, 6), "{counts:?}");
    drop(go_on);
    collector.join().unwrap();
    otlp.stop(Duration::from_secs(60)).await;
    let counts = otlp.counts();
    assert_eq!((counts.exported, counts.not_taken), (0, 5), "{counts:?}");
    // Whoever comes later is counted, too.
    tell(&sink);
    assert_eq!(otlp.counts().not_taken, 6);
}

/// What the options say wrong is said at the start.
#[tokio::test]
async fn wrong_options() {
    let authorities = Some("nothing".to_owned());
    let wrong = OtlpOptions {
        authorities,
        ..options(&nobody())
    };
    let error = Otlp::start(wrong).unwrap_err();
    assert!(matches!(error, OtlpError::Authorities(_)), "{error}");
    let error = Otlp::start(options("not a url")).unwrap_err();
    assert!(matches!(error, OtlpError::Exporter(_)), "{error}");
}
