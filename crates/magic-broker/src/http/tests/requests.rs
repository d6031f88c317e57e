//! What is sent and what is told of it.

use super::server::Reply;
use super::*;
use crate::trace::TraceContext;

/// In a trace a request carries its place in it, that of the call where the call has one, whatever the controller writes; outside
/// of one, what the controller writes.
#[tokio::test]
async fn requests_belong_to_their_trace() {
    const WRITTEN: &str = "00-11111111111111111111111111111111-2222222222222222-00";
    let trace = TraceContext::child_of("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let call = SpanId::of(7);
    for (trace, span) in [(trace.clone(), None), (trace, call), (None, None)] {
        let server = Server::tls("127.77.1.2", &["api.example"], |_| {
            Reply::answer("200 OK", &[], b"")
        })
        .await;
        let mut bench =
            Bench::allowing(&[server.entry("api.example")]).name("api.example", &["127.77.1.2"]);
        bench.span = span;
        let resolver = Resolver::Table(bench.names.clone());
        let egress = Egress::with_resolver(bench.options.clone(), resolver).unwrap();
        let session = EgressSession::new(Arc::new(egress), Arc::clone(&bench.secrets));
        assert!(bench.session.set(session.within(trace.clone())).is_ok());
        let url = format!("https://api.example:{}/", server.port());
        let params = json!({"method": "GET", "url": url, "headers": [["Traceparent", WRITTEN]]});
        bench.call(params).await.ok();
        let request = server.requests().remove(0);
        let expected = trace.map_or(WRITTEN.to_owned(), |trace| trace.traceparent(span));
        assert_eq!(expected.contains("-0000000000000007-"), span.is_some());
        assert!(
            request.contains(&format!("traceparent: {expected}\r\n")),
            "{request}"
        );
        assert_eq!(request.matches("traceparent").count(), 1, "{request}");
    }
}

/// A POST over TLS, headers and body as asked, answer and facts as told.
#[tokio::test]
async fn a_request_over_tls() {
    let server = Server::tls("127.77.1.1", &["api.example"], |_| {
        Reply::answer(
            "201 Created",
            &[("X-Id", "7"), ("X-Id", "8")],
            b"{\"id\":7}",
        )
    })
    .await;
    let bench =
        Bench::allowing(&[server.entry("api.example")]).name("api.example", &["127.77.1.1"]);
    let url = format!("https://api.example:{}/v1/x?q=secret", server.port());
    let done = bench
        .call(json!({
            "method": "POST", "url": url, "body": "{\"a\":1}",
            "headers": [["Content-Type", "application/json"], ["User-Agent", "mine"]],
        }))
        .await;
    let facts = Value::Object(done.facts.clone());
    let told = done.ok();
    assert_eq!(told["status"], 201);
    assert_eq!(told["url"], url);
    assert_eq!(told["body"], "{\"id\":7}");
    assert_eq!(told["redirects"], 0);
    let headers = told["headers"].as_array().unwrap();
    assert!(headers.contains(&json!(["x-id", "7"])) && headers.contains(&json!(["x-id", "8"])));

    let request = server.requests().remove(0);
    assert!(
        request.starts_with("POST /v1/x?q=secret HTTP/1.1\r\n"),
        "{request}"
    );
    for line in [
        format!("host: api.example:{}", server.port()),
        "content-length: 7".to_owned(),
        "content-type: application/json".to_owned(),
        "user-agent: mine".to_owned(),
        "connection: close".to_owned(),
        "accept-encoding: gzip, deflate".to_owned(),
    ] {
        assert!(
            request.contains(&format!("{line}\r\n")),
            "{line}: {request}"
        );
    }
    assert!(request.ends_with("\r\n\r\n{\"a\":1}"), "{request}");

    assert_eq!(facts["host"], "api.example");
    assert_eq!(facts["port"], server.port());
    assert_eq!(facts["address"], "127.77.1.1");
    assert_eq!(
        (&facts["method"], &facts["status"]),
        (&json!("POST"), &json!(201))
    );
    assert!(facts["request_bytes"].as_u64() > Some(request.len() as u64));
    assert!(facts["response_bytes"].as_u64() > Some(30));
    assert!(facts["duration_us"].as_u64() > Some(0));
    assert!(!facts.to_string().contains("secret"), "{facts}");
    let announced = bench.ledger.intents.lock().unwrap()[0].clone();
    assert_eq!(announced["host"], "api.example");
    assert!(!announced.contains_key("status"));
}

/// Certificates that do not name the host, are expired, or come from elsewhere are refused, and
/// nothing is sent; the twin is above.
#[tokio::test]
async fn tls_is_always_verified() {
    let stranger = Authority::new();
    for (acceptor, what) in [
        (
            Authority::get().acceptor(&["other.example"], false),
            "another name",
        ),
        (Authority::get().acceptor(&["api.example"], true), "expired"),
        (
            stranger.acceptor(&["api.example"], false),
            "another authority",
        ),
    ] {
        let server = Server::start("127.77.1.2", Some(acceptor), |_| Reply::ok("no")).await;
        let bench =
            Bench::allowing(&[server.entry("api.example")]).name("api.example", &["127.77.1.2"]);
        let done = bench
            .get(format!("https://api.example:{}/", server.port()))
            .await;
        done.broke(false);
        assert!(done.failure().message.contains("certificate"), "{what}");
        assert_eq!(server.requests(), Vec::<String>::new(), "{what}");
    }
    // A plain server where TLS is expected.
    let server = Server::plain("127.77.1.2", |_| Reply::ok("no")).await;
    let bench =
        Bench::allowing(&[server.entry("api.example")]).name("api.example", &["127.77.1.2"]);
    bench
        .get(format!("https://api.example:{}/", server.port()))
        .await
        .broke(true);
}

/// An address in place of a name is verified too.
#[tokio::test]
async fn addresses_have_certificates_too() {
    let server = Server::tls("127.77.1.3", &["127.77.1.3"], |_| Reply::ok("yes")).await;
    let bench = Bench::allowing(&[server.entry("127.77.1.3")]);
    let done = bench
        .get(format!("https://127.77.1.3:{}/", server.port()))
        .await;
    assert_eq!(done.ok()["body"], "yes");
}

/// HEAD has no body whatever its headers say; other statuses without one neither.
#[tokio::test]
async fn answers_without_a_body() {
    let server = Server::plain("127.77.1.4", |request| {
        if request.starts_with("HEAD") {
            Reply::Bytes(
                b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\ncontent-encoding: gzip\r\n\r\n"
                    .to_vec(),
            )
        } else {
            Reply::Bytes(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec())
        }
    })
    .await;
    let bench = Bench::allowing(&[server.entry("a.example")]).name("a.example", &["127.77.1.4"]);
    let url = format!("http://a.example:{}/", server.port());
    for (method, status) in [("HEAD", 200), ("DELETE", 204), ("OPTIONS", 204)] {
        let told = bench.call(json!({"method": method, "url": url})).await.ok();
        assert_eq!(
            (&told["status"], &told["body"]),
            (&json!(status), &json!("")),
            "{method}"
        );
    }
}

/// Encoded bodies arrive decoded; what is encoded in another way arrives as it came.
#[tokio::test]
async fn encodings_are_undone() {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all("grüße".as_bytes()).unwrap();
    let gzip = encoder.finish().unwrap();
    let server = Server::plain("127.77.1.5", move |request| match request {
        request if request.contains("/gzip") => {
            Reply::answer("200 OK", &[("Content-Encoding", "gzip")], &gzip)
        }
        request if request.contains("/lies") => Reply::answer(
            "200 OK",
            &[("content-encoding", "gzip")],
            b"not gzip at all",
        ),
        _ => Reply::answer("200 OK", &[("content-encoding", "br")], b"\x0b\x02\x80"),
    })
    .await;
    let bench = Bench::allowing(&[server.entry("a.example")]).name("a.example", &["127.77.1.5"]);
    let url = |path: &str| format!("http://a.example:{}/{path}", server.port());
    let told = bench.get(url("gzip")).await.ok();
    assert_eq!(told["body"], "grüße");
    assert!(!told["headers"].to_string().contains("content-"), "{told}");
    let told = bench.get(url("br")).await.ok();
    assert_eq!(told["body_base64"], "CwKA");
    assert!(told["headers"].to_string().contains("br"), "{told}");
    bench.get(url("lies")).await.broke(true);
}

/// A secret in a header goes out in place of its handle, to the host that it is for; what the
/// server echoes of it is hidden.
#[tokio::test]
async fn handles_are_expanded_for_their_host() {
    let server = Server::tls("127.77.1.6", &["a.example", "b.example"], |request| {
        let seen = request
            .lines()
            .find(|line| line.starts_with("authorization"))
            .unwrap_or("none");
        Reply::answer("200 OK", &[("x-seen", seen)], seen.as_bytes())
    })
    .await;
    let mut bench = Bench::allowing(&[server.entry("a.example"), server.entry("b.example")])
        .name("a.example", &["127.77.1.6"])
        .name("b.example", &["127.77.1.6"]);
    bench.secrets = Arc::new(Keys);
    let request = |host: &str| {
        json!({"method": "GET", "url": format!("https://{host}:{}/", server.port()),
               "headers": [["Authorization", "Bearer HANDLE"]]})
    };
    let told = bench.call(request("a.example")).await.ok();
    assert!(server.requests()[0].contains("authorization: Bearer hunter2\r\n"));
    assert_eq!(told["body"], "authorization: Bearer ***");
    assert!(!told.to_string().contains("hunter2"));

    let done = bench.call(request("b.example")).await;
    done.refused(ErrorCode::TargetNotAllowed, "layer", "contract");
    assert_eq!(server.requests().len(), 1);
    assert_eq!(bench.announced(), 1);
}

/// Knows one handle, for `a.example` over TLS.
pub(super) struct Keys;

impl HeaderSecrets for Keys {
    fn expand(&self, value: &str, host: &Host, _: u16, tls: bool) -> Result<String, Failure> {
        if !value.contains("HANDLE") {
            return Ok(value.to_owned());
        }
        if tls && host.to_string() == "a.example" {
            Ok(value.replace("HANDLE", "hunter2"))
        } else {
            Err(problem::outside("not for this host").with_detail("layer", "contract"))
        }
    }

    fn mask(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let text = String::from_utf8_lossy(bytes);
        text.contains("hunter2")
            .then(|| text.replace("hunter2", "***").into_bytes())
    }
}

/// A secret with a line break never becomes two header lines.
#[tokio::test]
async fn a_secret_cannot_inject_headers() {
    struct Broken;
    impl HeaderSecrets for Broken {
        fn expand(&self, _: &str, _: &Host, _: u16, _: bool) -> Result<String, Failure> {
            Ok("x\r\nx-evil: 1".to_owned())
        }
        fn mask(&self, _: &[u8]) -> Option<Vec<u8>> {
            None
        }
    }
    let server = Server::plain("127.77.1.7", |_| Reply::ok("no")).await;
    let mut bench =
        Bench::allowing(&[server.entry("a.example")]).name("a.example", &["127.77.1.7"]);
    bench.secrets = Arc::new(Broken);
    let url = format!("http://a.example:{}/", server.port());
    let done = bench
        .call(json!({"method": "GET", "url": url, "headers": [["x-key", "h"]]}))
        .await;
    done.broke(false);
    assert!(!done.failure().message.contains("evil"));
    assert_eq!(server.connections(), 0);
}

/// Nothing leaves, not even a connection, unless the announcement is durable.
#[tokio::test]
async fn nothing_leaves_without_an_announcement() {
    let server = Server::plain("127.77.1.8", |_| Reply::ok("no")).await;
    let mut bench =
        Bench::allowing(&[server.entry("a.example")]).name("a.example", &["127.77.1.8"]);
    bench.ledger.is_full = true;
    bench
        .get(format!("http://a.example:{}/", server.port()))
        .await
        .broke(true);
    assert_eq!((server.connections(), bench.announced()), (0, 1));
}

/// Whoever drops the call closes the connection.
#[tokio::test]
async fn dropping_the_call_closes_the_connection() {
    let server = Server::plain("127.77.1.9", |_| Reply::Silence).await;
    let bench = Bench::allowing(&[server.entry("a.example")]).name("a.example", &["127.77.1.9"]);
    {
        let call = bench.get(format!("http://a.example:{}/", server.port()));
        tokio::pin!(call);
        let arrived = async {
            while server.requests().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = &mut call => panic!("a silent server answered"),
            () = arrived => {}
        }
    }
    tokio::time::timeout(Duration::from_secs(10), server.connection_ended())
        .await
        .unwrap();
}

/// The calls of a session share its bytes, and wait for each other's places.
#[tokio::test]
async fn a_session_has_its_share() {
    let server = Server::plain("127.77.1.10", |_| Reply::ok(&"x".repeat(4000))).await;
    let bench = Bench::allowing(&[server.entry("a.example")])
        .name("a.example", &["127.77.1.10"])
        .limits(|limits| {
            limits.session_bytes = 20_000;
            limits.session_calls = 1;
        });
    let url = format!("http://a.example:{}/", server.port());
    let both = tokio::join!(bench.get(url.clone()), bench.get(url.clone()));
    assert_eq!(
        (both.0.ok()["status"].clone(), both.1.ok()["status"].clone()),
        (200.into(), 200.into())
    );
    let mut last = bench.get(url.clone()).await;
    for _ in 0..4 {
        if last.result.is_err() {
            break;
        }
        last = bench.get(url.clone()).await;
    }
    last.refused(ErrorCode::BudgetExceeded, "budget", "bytes");
    let connections = server.connections();
    bench
        .get(url)
        .await
        .refused(ErrorCode::BudgetExceeded, "budget", "bytes");
    assert_eq!(server.connections(), connections);
}

/// Options that cannot hold are refused at start.
#[test]
fn options_are_checked() {
    let with_roots = |extra_roots: &str| {
        Egress::new(EgressOptions {
            extra_roots: extra_roots.to_owned(),
            ..EgressOptions::default()
        })
    };
    assert!(with_roots("").is_ok());
    assert!(with_roots(&Authority::get().pem()).is_ok());
    assert!(matches!(
        with_roots("no certificate"),
        Err(EgressError::NoRoots)
    ));
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(with_roots(broken), Err(EgressError::Root(_))));
    let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n";
    assert!(matches!(with_roots(cut), Err(EgressError::RootText(_))));
    let mut options = EgressOptions::default();
    options.limits.response_bytes = 8 << 20;
    assert!(matches!(
        Egress::new(options),
        Err(EgressError::ResponseLimit(_))
    ));
}
