//! Spellings of URLs that other products judged one way and dialled another.

use super::*;
use proptest::prelude::*;

/// What is taken, and what is read from it: host, port, TLS, request line.
#[test]
fn taken_urls_are_read_alike() {
    for (text, host, port, tls, line) in [
        (
            "https://api.stripe.com/v1/invoices",
            "api.stripe.com",
            443,
            true,
            "/v1/invoices",
        ),
        ("https://api.stripe.com", "api.stripe.com", 443, true, "/"),
        (
            "https://api.stripe.com?a=1",
            "api.stripe.com",
            443,
            true,
            "/?a=1",
        ),
        (
            "https://api.stripe.com:443/",
            "api.stripe.com",
            443,
            true,
            "/",
        ),
        (
            "https://api.stripe.com:8443/x?y=z&q=%20",
            "api.stripe.com",
            8443,
            true,
            "/x?y=z&q=%20",
        ),
        (
            "http://localhost:9000/a/../b",
            "localhost",
            9000,
            false,
            "/b",
        ),
        ("http://localhost", "localhost", 80, false, "/"),
        ("https://127.0.0.1:8443/", "127.0.0.1", 8443, true, "/"),
        ("https://[::1]:8443/", "[::1]", 8443, true, "/"),
        ("https://[2001:db8::1]/", "[2001:db8::1]", 443, true, "/"),
        (
            "https://xn--mnchen-3ya.de/",
            "xn--mnchen-3ya.de",
            443,
            true,
            "/",
        ),
        ("https://a.example/#part", "a.example", 443, true, "/"),
        (
            "https://evil.example#a.example",
            "evil.example",
            443,
            true,
            "/",
        ),
        (
            "https://a.example//b@c/d:80",
            "a.example",
            443,
            true,
            "//b@c/d:80",
        ),
        (
            "https://a.example/?u=http://b.example/",
            "a.example",
            443,
            true,
            "/?u=http://b.example/",
        ),
        ("https://a.example/ü", "a.example", 443, true, "/%C3%BC"),
    ] {
        let target = EgressTarget::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(target.host().to_string(), host, "{text}");
        assert_eq!((target.port(), target.is_tls()), (port, tls), "{text}");
        assert_eq!(target.origin_form(), line, "{text}");
    }
}

/// What is refused, and by which rule.
#[test]
fn refused_urls_say_why() {
    use TargetProblem::*;
    let long_name = format!("https://{}example.org/", "a.".repeat(126));
    let long_url = format!("https://a.example/{}", "a".repeat(9000));
    for (text, problem) in [
        ("", Scheme),
        ("a.example", Scheme),
        ("//a.example/", Scheme),
        ("HTTPS://a.example/", Scheme),
        ("https:a.example", Scheme),
        ("https:/a.example/", Scheme),
        ("file:///etc/passwd", Scheme),
        ("gopher://a.example/", Scheme),
        ("ftp://a.example/", Scheme),
        ("data:text/plain,x", Scheme),
        ("unix:/run/docker.sock", Scheme),
        ("https:\\\\a.example\\", Character),
        (" https://a.example/", Character),
        ("https://a.example/ ", Character),
        ("https://a.example/a b", Character),
        ("https://a.ex\tample/", Character),
        ("https://a.example/\r\nHost: evil", Character),
        ("https://a.example/\n", Character),
        ("https://a.example\0.evil/", Character),
        ("https://a.example/\u{7f}", Character),
        ("https://a.example/\u{85}", Character),
        ("https://a.example/\u{2028}", Character),
        ("https://a.example/\u{3000}", Character),
        ("https://evil.example\\a.example/", Character),
        ("https://a.example@evil.example/", User),
        ("https://user:pass@a.example/", User),
        ("https://@a.example/", User),
        ("https://%61.example/", Encoded),
        ("https://a.example%2f.evil.example/", Encoded),
        ("https://a.example%00/", Encoded),
        ("https://ａ.example/", Encoded),
        ("https://a。example/", Encoded),
        ("https://münchen.de/", Encoded),
        ("https://аpple.example/", Encoded),
        ("https:///a.example/", Host(HostProblem::Empty)),
        ("https://", Host(HostProblem::Empty)),
        ("https://:443/", Host(HostProblem::Empty)),
        ("https://A.example/", Host(HostProblem::Capital)),
        ("https://ALLOWED.EXAMPLE/", Host(HostProblem::Capital)),
        ("https://a.example./", Host(HostProblem::TrailingDot)),
        ("https://a..example/", Host(HostProblem::EmptyLabel)),
        ("https://.a.example/", Host(HostProblem::EmptyLabel)),
        ("https://*.example/", Host(HostProblem::Character)),
        ("https://a_b.example/", Host(HostProblem::Character)),
        ("https://a,b/", Host(HostProblem::Character)),
        ("https://xn--a.example/", Host(HostProblem::Punycode)),
        ("https://[a.example]/", Host(HostProblem::Address)),
        ("https://[::1/", Host(HostProblem::Port)),
        ("https://[::0001]/", Host(HostProblem::Address)),
        ("https://[::FFFF:1]/", Host(HostProblem::Address)),
        ("https://[fe80::1%25eth0]/", Encoded),
        ("https://::1/", Host(HostProblem::Port)),
        ("https://127.1/", Host(HostProblem::Address)),
        ("https://0x7f.0.0.1/", Host(HostProblem::Address)),
        ("https://0177.0.0.1/", Host(HostProblem::Address)),
        ("https://2130706433/", Host(HostProblem::Address)),
        ("https://0/", Host(HostProblem::Address)),
        ("https://1.2.3.4.5/", Host(HostProblem::Address)),
        ("https://a.example:/", Host(HostProblem::Port)),
        ("https://a.example:0/", Host(HostProblem::Port)),
        ("https://a.example:0443/", Host(HostProblem::Port)),
        ("https://a.example:+443/", Host(HostProblem::Port)),
        ("https://a.example:65536/", Host(HostProblem::Port)),
        ("https://a.example:443:80/", Host(HostProblem::Port)),
        ("https://a.example:80a/", Host(HostProblem::Port)),
        (long_name.as_str(), Host(HostProblem::TooLong)),
        (long_url.as_str(), TooLong),
    ] {
        assert_eq!(EgressTarget::parse(text), Err(problem), "{text:?}");
    }
}

/// Locations, from `https://a.example/b/c?d`.
#[test]
fn locations_are_resolved_strictly() {
    let base = EgressTarget::parse("https://a.example/b/c?d").unwrap();
    for (location, result) in [
        ("/x", "https://a.example/x"),
        ("x?y", "https://a.example/b/x?y"),
        ("../x", "https://a.example/x"),
        ("?z", "https://a.example/b/c?z"),
        ("", "https://a.example/b/c?d"),
        ("https://b.example/", "https://b.example/"),
        ("//b.example:8443/x", "https://b.example:8443/x"),
        ("http://a.example/", "http://a.example/"),
        ("/x@y:z", "https://a.example/x@y:z"),
    ] {
        assert_eq!(
            base.resolve(location).unwrap().as_str(),
            result,
            "{location:?}"
        );
    }
    for location in [
        "file:///etc/passwd",
        "gopher://a.example/",
        "javascript:alert(1)",
        "https:/b.example",
        "https:b.example",
        "///b.example/",
        "/\\b.example/",
        "\\\\b.example/",
        "//b.example\\@a.example/",
        "//user@b.example/",
        "https://B.example/",
        "/a b",
        "/a\tb",
        "\u{0}/",
    ] {
        assert!(base.resolve(location).is_err(), "{location:?}");
    }
}

fn near_urls() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "https://",
        "http://",
        "//",
        "/",
        "a.example",
        "b.example",
        ":",
        "443",
        "80",
        "@",
        "%2e",
        ".",
        "..",
        "\\",
        "#",
        "?",
        "[",
        "]",
        "::1",
        "127.0.0.1",
        "0x7f",
        "xn--",
        "A",
        "ü",
        "。",
        "-",
        " ",
        "\t",
        "&",
        "=",
        "*",
        "|",
        "\u{200b}",
        "\u{ad}",
    ]);
    prop::collection::vec(pieces, 0..8).prop_map(|pieces| pieces.concat())
}

fn holds(text: &str) -> Result<(), TestCaseError> {
    let Ok(target) = EgressTarget::parse(text) else {
        return Ok(());
    };
    let host = target.host().to_string();
    prop_assert_eq!(&Host::parse(&host).unwrap(), target.host());
    let url = Url::parse(text).unwrap();
    prop_assert_eq!(url.host_str(), Some(host.as_str()));
    prop_assert_eq!(url.port_or_known_default(), Some(target.port()));
    // The host that goes into the request stands in the text, as it is.
    prop_assert!(text.contains(&host));
    // What was read once is read the same again.
    prop_assert_eq!(&EgressTarget::parse(target.as_str()).unwrap(), &target);
    prop_assert!(target.origin_form().starts_with('/'));
    Ok(())
}

proptest! {
    /// Whatever passes has a host in its one spelling, and the second reader sees the same.
    #[test]
    fn what_passes_is_unambiguous(text in near_urls()) {
        holds(&text)?;
        holds(&format!("https://a.example{text}"))?;
        holds(&format!("https://{text}"))?;
    }

    /// No text panics, and no location leads elsewhere without naming a host in full.
    #[test]
    fn arbitrary_text_never_panics(text in any::<String>(), location in near_urls()) {
        holds(&text)?;
        let base = EgressTarget::parse("https://a.example/b/c?d").unwrap();
        let _ = base.resolve(&text);
        if let Ok(target) = base.resolve(&location)
            && !target.has_origin_of(&base)
        {
                prop_assert!(location.contains(&target.host().to_string()));
                prop_assert!(location.contains("//"));
        }
    }
}
