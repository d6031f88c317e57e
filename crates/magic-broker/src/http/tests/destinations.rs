//! Where requests may go: each refusal with a twin that arrives.

use super::server::Reply;
use super::*;
use crate::http::resolve::ResolveError;
use magic_contract::HostProblem;

/// Hosts by the contract, in the one spelling that is compared and dialled.
#[tokio::test]
async fn hosts_are_those_of_the_contract() {
    let server = Server::plain("127.77.2.1", |_| Reply::ok("yes")).await;
    let port = server.port();
    let entry = |name: &str| server.entry(name);
    let wildcard = format!("*.wild.example:{port}");
    let mut bench = Bench::allowing(&[entry("a.example"), wildcard, entry("127.77.2.1")]);
    for name in [
        "a.example",
        "b.example",
        "x.wild.example",
        "x.y.wild.example",
        "wild.example",
    ] {
        bench = bench.name(name, &["127.77.2.1"]);
    }
    for host in ["a.example", "x.wild.example", "127.77.2.1"] {
        let told = bench.get(format!("http://{host}:{port}/")).await.ok();
        assert_eq!(told["body"], "yes", "{host}");
    }
    let served = server.connections();
    for host in [
        "b.example",
        "x.y.wild.example",
        "wild.example",
        "xa.example",
        "127.77.2.2",
        "[::1]",
    ] {
        let done = bench.get(format!("http://{host}:{port}/")).await;
        done.refused(ErrorCode::TargetNotAllowed, "layer", "contract");
        assert_eq!(done.facts["host"], host);
    }
    for url in [
        format!("http://A.EXAMPLE:{port}/"),
        format!("http://a.example.:{port}/"),
        format!("http://[a.example]:{port}/"),
        format!("http://a.example@b.example:{port}/"),
        format!("http://b.example\\a.example:{port}/"),
        format!("http://a.example\u{0}.b.example:{port}/"),
        format!("http://%61.example:{port}/"),
        format!("http://a。example:{port}/"),
        format!("http://а.example:{port}/"),
        format!("http://xn--a.example:{port}/"),
        format!("http://a..example:{port}/"),
        format!("http://{}:{port}/", "a.".repeat(130)),
        format!("http:// a.example:{port}/"),
        format!("http://a.example:{port}/\r\nhost: b.example"),
        format!("http://a.example\t:{port}/"),
        format!("HTTP://a.example:{port}/"),
        "file:///etc/passwd".to_owned(),
        "gopher://a.example/".to_owned(),
        "unix:///run/docker.sock".to_owned(),
    ] {
        let done = bench.get(url.clone()).await;
        done.refused(ErrorCode::TargetNotAllowed, "rule", "canonical_url");
    }
    // What comes after `#` is no host: the request would go to the one before it.
    let done = bench
        .get(format!("http://b.example:{port}#a.example"))
        .await;
    done.refused(ErrorCode::TargetNotAllowed, "layer", "contract");
    assert_eq!((server.connections(), bench.announced()), (served, 3));
    let done = bench.get(format!("http://A.EXAMPLE.:{port}/x")).await;
    let better = format!("write `http://a.example:{port}`");
    assert!(
        done.failure().message.contains(&better),
        "{}",
        done.failure()
    );
}

/// A list that lists nothing means nothing: such contracts are not read at all.
#[test]
fn empty_lists_mean_nothing() {
    let parse = |options: &str| {
        let text = format!(
            "name: T\nversion: 1.0.0\ninput: {{type: object}}\noutput: {{type: object}}\ncapabilities:\n  - http:egress: {options}\n"
        );
        Contract::parse(text.as_bytes(), "contract.yaml").is_ok()
    };
    for options in [
        "{ allow: [] }",
        "{ allow: null }",
        "{ allow: [\"\"] }",
        "{ allow: [\"*\"] }",
        "{ allow: [\"*.com\"] }",
        "{ allow: [\"example.*\"] }",
        "{ allow: [null] }",
        "{ methods: [] }",
    ] {
        assert!(!parse(options), "{options}");
    }
    assert!(parse("{ allow: [a.example] }"));
    assert!(parse("{ allow: [\"*.a.example\"], methods: [GET] }"));
    assert_eq!(HostPattern::parse("*.com"), Err(HostProblem::Wildcard));
}

/// Ports and schemes: 443 unless a port is named, plain http only with a named one.
#[tokio::test]
async fn plain_http_needs_a_named_port() {
    let server = Server::plain("127.77.2.2", |_| Reply::ok("yes")).await;
    let port = server.port();
    let listed = |line: &str| Bench::new(line).name("a.example", &["127.77.2.2"]);

    let bench = listed("- http:egress: { allow: [a.example] }");
    let done = bench.get(format!("https://a.example:{port}/")).await;
    done.refused(ErrorCode::TargetNotAllowed, "layer", "contract");
    bench
        .get("http://a.example/")
        .await
        .refused(ErrorCode::TargetNotAllowed, "layer", "contract");
    let done = bench.get("http://a.example:443/").await;
    done.refused(
        ErrorCode::TargetNotAllowed,
        "line",
        "- http:egress: { allow: [a.example, \"a.example:443\"] }",
    );

    let bench = listed("- http:egress");
    let done = bench.get(format!("http://a.example:{port}/")).await;
    let line = done.failure().details["line"].as_str().unwrap().to_owned();
    assert_eq!(
        line,
        format!("- http:egress: {{ allow: [\"a.example:{port}\"] }}")
    );
    let bench = listed(&line);
    assert_eq!(
        bench.get(format!("http://a.example:{port}/")).await.ok()["body"],
        "yes"
    );
}

/// An address in place of a name only if the contract lists it.
#[tokio::test]
async fn addresses_must_be_listed() {
    let server = Server::tls("127.77.2.3", &["127.77.2.3"], |_| Reply::ok("yes")).await;
    let url = format!("https://127.77.2.3:{}/", server.port());
    let done = Bench::new("- http:egress").get(url.clone()).await;
    let line = done.failure().details["line"].as_str().unwrap().to_owned();
    assert_eq!(Bench::new(line).get(url).await.ok()["body"], "yes");
}

/// Methods by the contract, and the line that adds one.
#[tokio::test]
async fn methods_are_those_of_the_contract() {
    let server = Server::plain("127.77.2.4", |_| Reply::ok("yes")).await;
    let url = format!("http://a.example:{}/", server.port());
    let line = format!(
        "- http:egress: {{ allow: [\"{}\"], methods: [POST] }}",
        server.entry("a.example")
    );
    let bench = Bench::new(line).name("a.example", &["127.77.2.4"]);
    let done = bench.get(url.clone()).await;
    done.refused(ErrorCode::TargetNotAllowed, "method", "GET");
    assert_eq!(server.connections(), 0);
    assert_eq!(
        bench.call(json!({"method": "POST", "url": url})).await.ok()["body"],
        "yes"
    );
    let line = done.failure().details["line"].as_str().unwrap().to_owned();
    let bench = Bench::new(line).name("a.example", &["127.77.2.4"]);
    assert_eq!(bench.get(url).await.ok()["body"], "yes");
}

/// One bad address among several refuses the name; the policy's line opens it.
#[tokio::test]
async fn every_address_is_judged() {
    let server = Server::plain("127.77.2.5", |_| Reply::ok("yes")).await;
    let url = format!("http://a.example:{}/", server.port());
    for (others, kind) in [
        (&["10.1.2.3"][..], "private"),
        (&["169.254.169.254"][..], "metadata"),
        (&["fd00:ec2::254"][..], "metadata"),
        (&["100.64.0.1"][..], "shared"),
        (&["192.0.2.1"][..], "documentation"),
        (&["64:ff9b::a00:1"][..], "embedding"),
        (&["2002:a00:1::"][..], "embedding"),
        (&["2001:0:808:808::f5ff:fffe"][..], "embedding"),
        (&["::ffff:10.0.0.1"][..], "private"),
        (&["fe80::1"][..], "link_local"),
        (&["10.0.0.1", "10.0.0.2"][..], "private"),
    ] {
        let addresses: Vec<&str> = ["127.77.2.5"].iter().chain(others).copied().collect();
        let bench = Bench::allowing(&[server.entry("a.example")]).name("a.example", &addresses);
        let done = bench.get(url.clone()).await;
        done.refused(ErrorCode::TargetNotAllowed, "layer", "policy");
        assert_eq!(done.failure().details["address_class"], kind);
        assert_eq!(bench.announced(), 0);
        // The twin: the policy's line, as printed.
        let line = done.failure().details["line"].as_str().unwrap();
        let policy =
            String::from_utf8_lossy(include_bytes!("../../../../../policies/development.yaml"))
                .replace(
                    "network:\n  classes: [loopback, private]",
                    &format!("{line}\nunused:"),
                );
        let policy: String = policy
            .lines()
            .filter(|one| !one.starts_with("unused:") && !one.starts_with("  ranges: []"))
            .map(|one| format!("{one}\n"))
            .collect();
        let policy = Policy::parse(policy.as_bytes(), "policy.yaml")
            .unwrap_or_else(|problems| panic!("{policy}: {problems:?}"));
        let mut bench = Bench::allowing(&[server.entry("a.example")]).name("a.example", &addresses);
        bench.rules = AddressRules {
            classes: policy.address_classes,
            ranges: policy.address_ranges,
        };
        assert_eq!(bench.get(url.clone()).await.ok()["body"], "yes", "{line}");
    }
    assert_eq!(server.connections(), 11);
}

/// Loopback itself needs the policy's word, by name or by listed address; some kinds have none.
#[tokio::test]
async fn the_policy_has_the_last_word_on_addresses() {
    let server = Server::plain("127.77.2.6", |_| Reply::ok("yes")).await;
    for host in ["a.example", "127.77.2.6"] {
        let url = format!("http://{host}:{}/", server.port());
        let mut bench = Bench::allowing(&[server.entry(host)]).name("a.example", &["127.77.2.6"]);
        bench.rules = AddressRules::default();
        let done = bench.get(url.clone()).await;
        done.refused(
            ErrorCode::TargetNotAllowed,
            "line",
            "network: { ranges: [127.77.2.6/32] }",
        );
        assert_eq!(server.connections(), usize::from(host != "a.example"));
        bench = Bench::allowing(&[server.entry(host)]).name("a.example", &["127.77.2.6"]);
        bench.rules.classes.clear();
        bench.rules.ranges.push("127.77.2.6/32".parse().unwrap());
        assert_eq!(bench.get(url).await.ok()["body"], "yes");
    }
    for address in ["0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "ff02::1"] {
        let mut bench = Bench::allowing(&[server.entry("a.example")]).name("a.example", &[address]);
        bench.rules.ranges = vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
        let done = bench
            .get(format!("http://a.example:{}/", server.port()))
            .await;
        done.refused(ErrorCode::TargetNotAllowed, "rule", "closed_addresses");
    }
}

/// The runtime's own doors are closed whatever contract and policy say.
#[tokio::test]
async fn own_doors_are_closed() {
    let server = Server::plain("127.77.2.7", |_| Reply::ok("yes")).await;
    let url = format!("http://a.example:{}/", server.port());
    let bench = || Bench::allowing(&[server.entry("a.example")]).name("a.example", &["127.77.2.7"]);
    assert_eq!(bench().get(url.clone()).await.ok()["body"], "yes");

    let mut listening = bench();
    let unspecified = SocketAddr::new([0, 0, 0, 0].into(), server.port());
    listening.options.own_endpoints.listeners.push(unspecified);
    let done = listening.get(url.clone()).await;
    done.refused(ErrorCode::TargetNotAllowed, "rule", "own_endpoints");

    let mut using = bench().name("db.internal", &["127.77.2.7"]);
    using.options.own_endpoints.endpoints = vec![("db.internal".to_owned(), server.port())];
    let done = using.get(url.clone()).await;
    done.refused(ErrorCode::TargetNotAllowed, "rule", "own_endpoints");

    let late = bench();
    late.session().egress.protect_listener(server.address);
    let done = late.get(url).await;
    done.refused(ErrorCode::TargetNotAllowed, "rule", "own_endpoints");
    assert_eq!(server.connections(), 1);
}

/// Names without an address, servers that are gone, and the second address that answers.
#[tokio::test]
async fn unreachable_places_are_failures_to_retry() {
    let server = Server::plain("127.77.2.8", |_| Reply::ok("yes")).await;
    let bench = Bench::allowing(&[server.entry("a.example"), server.entry("gone.example")])
        // Nobody listens on the first of these.
        .name("a.example", &["127.77.2.9", "127.77.2.8"])
        .name("gone.example", &["127.77.2.9"]);
    let done = bench
        .get(format!("http://a.example:{}/", server.port()))
        .await;
    assert_eq!(done.facts["address"], "127.77.2.8");
    assert_eq!(done.ok()["body"], "yes");
    bench
        .get(format!("http://gone.example:{}/", server.port()))
        .await
        .broke(true);
    let bench = Bench::allowing(&["none.example".to_owned(), "empty.example".to_owned()])
        .name("empty.example", &[]);
    bench.get("https://none.example/").await.broke(true);
    bench.get("https://empty.example/").await.broke(true);
}

/// The system's resolver knows this machine, and answers in time or not at all.
#[tokio::test]
async fn the_system_resolver() {
    let resolver = Resolver::system(2);
    let until = Instant::now() + Duration::from_secs(10);
    let found = resolver.lookup("localhost", 80, until).await.unwrap();
    assert!(
        found
            .iter()
            .all(|one| one.ip().is_loopback() && one.port() == 80),
        "{found:?}"
    );
    let late = resolver
        .lookup("localhost", 80, Instant::now() - Duration::from_millis(1))
        .await;
    assert!(matches!(late, Ok(_) | Err(ResolveError::Late)));
    let none = Resolver::system(0);
    let soon = Instant::now() + Duration::from_millis(50);
    assert!(matches!(
        none.lookup("localhost", 80, soon).await,
        Err(ResolveError::Late)
    ));
}
