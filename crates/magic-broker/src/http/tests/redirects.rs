//! Chains of redirects, each hop judged like a first one.

use super::requests::Keys;
use super::server::Reply;
use super::*;

/// The request line and the named header of a request as it came.
fn seen(request: &str, header: &str) -> (String, Option<String>) {
    let line = request.lines().next().unwrap().to_owned();
    let prefix = format!("{header}: ");
    let value = request.lines().find_map(|one| one.strip_prefix(&prefix));
    (line, value.map(str::to_owned))
}

/// Relative and absolute locations are followed; the answer tells how often and where it ended.
#[tokio::test]
async fn chains_are_followed() {
    let second = Server::plain("127.77.3.2", |_| Reply::ok("end")).await;
    let elsewhere = format!("http://b.example:{}/end#part", second.port());
    let first = Server::plain("127.77.3.1", move |request| {
        if request.contains("/one") {
            Reply::to(302, "two?x=1")
        } else {
            Reply::to(307, &elsewhere)
        }
    })
    .await;
    let bench = Bench::allowing(&[first.entry("a.example"), second.entry("b.example")])
        .name("a.example", &["127.77.3.1"])
        .name("b.example", &["127.77.3.2"]);
    let url = format!("http://a.example:{}/one", first.port());
    let done = bench.get(url.clone()).await;
    assert_eq!(done.facts["redirects"], 2);
    assert_eq!(done.facts["host"], "b.example");
    assert_eq!(done.facts["via"], json!(["a.example", "a.example"]));
    let told = done.ok();
    assert_eq!(
        (&told["body"], &told["redirects"]),
        (&json!("end"), &json!(2))
    );
    assert_eq!(
        told["url"],
        format!("http://b.example:{}/end", second.port())
    );
    assert!(first.requests()[1].starts_with("GET /two?x=1 "));
    // Each hop sends something to somebody.
    assert_eq!(bench.announced(), 3);

    let done = bench
        .call(json!({"method": "GET", "url": url, "redirects": false}))
        .await;
    let told = done.ok();
    assert_eq!(
        (&told["status"], &told["redirects"]),
        (&json!(302), &json!(0))
    );
    assert_eq!(told["body"], "elsewhere");
}

/// Methods and bodies after each status, as the server sees them.
#[tokio::test]
async fn methods_and_bodies_after_a_redirect() {
    let server = Server::plain("127.77.3.3", |request| {
        match request
            .split(['/', ' '])
            .nth(2)
            .and_then(|status| status.parse().ok())
        {
            Some(status) => Reply::to(status, "/done"),
            None => Reply::ok("done"),
        }
    })
    .await;
    let bench = Bench::allowing(&[server.entry("a.example")]).name("a.example", &["127.77.3.3"]);
    for (status, line, body) in [
        (301, "GET /done HTTP/1.1", ""),
        (302, "GET /done HTTP/1.1", ""),
        (303, "GET /done HTTP/1.1", ""),
        (307, "POST /done HTTP/1.1", "body"),
        (308, "POST /done HTTP/1.1", "body"),
    ] {
        let url = format!("http://a.example:{}/{status}", server.port());
        let params = json!({"method": "POST", "url": url, "body": "body",
                            "headers": [["content-type", "text/plain"], ["authorization", "x"]]});
        assert_eq!(bench.call(params).await.ok()["body"], "done");
        let last = server.requests().pop().unwrap();
        assert_eq!(
            seen(&last, "authorization"),
            (line.to_owned(), Some("x".to_owned()))
        );
        assert_eq!(last.split_once("\r\n\r\n").unwrap().1, body, "{status}");
        assert_eq!(
            seen(&last, "content-type").1.is_some(),
            !body.is_empty(),
            "{status}"
        );
    }
}

/// Credentials and expanded secrets do not go to another origin; within one they do.
#[tokio::test]
async fn credentials_do_not_cross_origins() {
    let target = Arc::new(Mutex::new(String::new()));
    let other = Server::tls("127.77.3.5", &["b.example"], |_| Reply::ok("end")).await;
    let location = Arc::clone(&target);
    let server = Server::tls("127.77.3.4", &["a.example"], move |request| {
        if request.contains("/start") {
            Reply::to(307, &location.lock().unwrap())
        } else {
            Reply::ok("end")
        }
    })
    .await;
    let mut bench = Bench::allowing(&[server.entry("a.example"), other.entry("b.example")])
        .name("a.example", &["127.77.3.4"])
        .name("b.example", &["127.77.3.5"]);
    bench.secrets = Arc::new(Keys);
    let params = json!({
        "method": "POST", "url": format!("https://a.example:{}/start", server.port()), "body": "b",
        "headers": [["Authorization", "Basic x"], ["Cookie", "c=1"], ["X-Api-Key", "k"],
                    ["X-Custom", "v=HANDLE"], ["X-Plain", "p"]],
    });
    *target.lock().unwrap() = "/same".to_owned();
    assert_eq!(bench.call(params.clone()).await.ok()["body"], "end");
    let request = server.requests().pop().unwrap();
    assert_eq!(seen(&request, "x-custom").1.as_deref(), Some("v=hunter2"));
    assert_eq!(
        seen(&request, "authorization").1.as_deref(),
        Some("Basic x")
    );

    *target.lock().unwrap() = format!("https://b.example:{}/", other.port());
    assert_eq!(bench.call(params).await.ok()["body"], "end");
    let request = other.requests().pop().unwrap();
    for header in ["authorization", "cookie", "x-api-key", "x-custom"] {
        assert_eq!(seen(&request, header).1, None, "{header}");
    }
    assert_eq!(seen(&request, "x-plain").1.as_deref(), Some("p"));
    assert!(
        !request.contains("hunter2") && !request.contains("HANDLE"),
        "{request}"
    );
    assert!(request.ends_with("\r\n\r\nb"));
}

/// Each hop is judged: scheme, host, port, method, address, own doors. The twin is above.
#[tokio::test]
async fn a_redirect_opens_nothing() {
    let target = Arc::new(Mutex::new(String::new()));
    let hidden = Server::plain("127.77.3.7", |_| Reply::ok("hidden")).await;
    let location = Arc::clone(&target);
    let server = Server::tls("127.77.3.6", &["a.example"], move |_| {
        Reply::to(302, &location.lock().unwrap())
    })
    .await;
    let bench = || {
        let hosts = [
            server.entry("a.example"),
            hidden.entry("private.example"),
            hidden.entry("plain.example"),
            hidden.entry("db.internal"),
        ];
        let hosts: Vec<String> = hosts.iter().map(|host| json!(host).to_string()).collect();
        let line = format!(
            "- http:egress: {{ allow: [{}], methods: [POST, GET] }}",
            hosts.join(", ")
        );
        let mut bench = Bench::new(line)
            .name("a.example", &["127.77.3.6"])
            .name("private.example", &["10.0.0.7"])
            .name("plain.example", &["127.77.3.7"])
            .name("db.internal", &["127.77.3.7"]);
        bench.options.own_endpoints.endpoints = vec![("db.internal".to_owned(), hidden.port())];
        bench
    };
    let port = hidden.port();
    for (location, detail, value) in [
        ("file:///etc/passwd".to_owned(), "rule", "canonical_url"),
        ("gopher://a.example/".to_owned(), "rule", "canonical_url"),
        ("ftp://a.example/".to_owned(), "rule", "canonical_url"),
        (
            format!("https://a.example@127.77.3.7:{port}/"),
            "rule",
            "canonical_url",
        ),
        (
            format!("//127.77.3.7:{port}\\@a.example/"),
            "rule",
            "canonical_url",
        ),
        (
            format!("http://plain.example:{port}/"),
            "rule",
            "redirect_downgrade",
        ),
        (
            format!("http://a.example:{}/", server.port()),
            "rule",
            "redirect_downgrade",
        ),
        (format!("https://127.77.3.7:{port}/"), "layer", "contract"),
        ("https://other.example/".to_owned(), "layer", "contract"),
        ("https://a.example/".to_owned(), "layer", "contract"),
        (
            format!("https://private.example:{port}/"),
            "address_class",
            "private",
        ),
        (
            format!("https://db.internal:{port}/"),
            "rule",
            "own_endpoints",
        ),
        (
            format!("https://plain.example:{port}/"),
            "rule",
            "own_endpoints",
        ),
    ] {
        (*target.lock().unwrap()).clone_from(&location);
        let bench = bench();
        let done = bench
            .get(format!("https://a.example:{}/", server.port()))
            .await;
        done.refused(ErrorCode::TargetNotAllowed, detail, value);
        assert_eq!(done.facts["status"], 302, "{location}");
    }
    assert_eq!(hidden.connections(), 0);
    // A redirect that makes a GET of a POST needs GET in the contract.
    *target.lock().unwrap() = "/x".to_owned();
    let line = format!(
        "- http:egress: {{ allow: [\"{}\"], methods: [POST] }}",
        server.entry("a.example")
    );
    let bench = Bench::new(line).name("a.example", &["127.77.3.6"]);
    let url = format!("https://a.example:{}/", server.port());
    let done = bench.call(json!({"method": "POST", "url": url})).await;
    done.refused(ErrorCode::TargetNotAllowed, "method", "GET");
}

/// Ten hops are followed and the eleventh is not; a circle ends at once.
#[tokio::test]
async fn chains_end() {
    let server = Server::plain("127.77.3.8", |request| {
        let path = request.split([' ', '/']).nth(2).unwrap_or_default();
        match path {
            "circle" => Reply::to(302, "/circle2"),
            "circle2" => Reply::to(302, "/circle"),
            "self" => Reply::to(302, ""),
            "1" => Reply::ok("end"),
            number => Reply::to(302, &format!("/{}", number.parse::<u32>().unwrap() - 1)),
        }
    })
    .await;
    let bench = Bench::allowing(&[server.entry("a.example")]).name("a.example", &["127.77.3.8"]);
    let url = |path: &str| format!("http://a.example:{}/{path}", server.port());
    assert_eq!(bench.get(url("11")).await.ok()["redirects"], 10);
    bench
        .get(url("12"))
        .await
        .refused(ErrorCode::BudgetExceeded, "budget", "redirects");
    bench
        .get(url("40"))
        .await
        .refused(ErrorCode::BudgetExceeded, "budget", "redirects");
    let before = server.connections();
    bench
        .get(url("circle"))
        .await
        .refused(ErrorCode::BudgetExceeded, "budget", "redirects");
    bench
        .get(url("self"))
        .await
        .refused(ErrorCode::BudgetExceeded, "budget", "redirects");
    assert_eq!(server.connections(), before + 3);
}

/// A redirect that says nothing or nonsense.
#[tokio::test]
async fn odd_locations() {
    let server = Server::plain("127.77.3.9", |request| {
        if request.contains("/none") {
            Reply::answer("302 Found", &[], b"where?")
        } else {
            Reply::Bytes(
                b"HTTP/1.1 302 Found\r\nlocation: /\xff\r\ncontent-length: 0\r\n\r\n".to_vec(),
            )
        }
    })
    .await;
    let bench = Bench::allowing(&[server.entry("a.example")]).name("a.example", &["127.77.3.9"]);
    let told = bench
        .get(format!("http://a.example:{}/none", server.port()))
        .await
        .ok();
    assert_eq!(
        (&told["status"], &told["body"]),
        (&json!(302), &json!("where?"))
    );
    bench
        .get(format!("http://a.example:{}/bytes", server.port()))
        .await
        .broke(false);
}
