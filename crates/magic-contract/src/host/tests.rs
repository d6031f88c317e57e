//! Spellings of hosts that other products took for each other.

use super::*;

fn pattern(text: &str) -> HostPattern {
    HostPattern::parse(text).unwrap_or_else(|problem| panic!("{text:?}: {problem}"))
}

/// Entries that are accepted come back exactly as they were written.
#[test]
fn accepted_patterns_have_one_spelling() {
    for text in [
        "api.stripe.com",
        "*.example.org",
        "localhost:9000",
        "localhost",
        "a.b-c.d2",
        "127.0.0.1:80",
        "[::1]:8080",
        "[2001:db8::1]",
        "xn--mnchen-3ya.de",
        "*.xn--mnchen-3ya.de:8443",
        "1a.example",
        "xn--fiqs8s",
    ] {
        assert_eq!(pattern(text).to_string(), text);
    }
}

/// Each refusal names the rule that is broken.
#[test]
fn refused_patterns_say_why() {
    use HostProblem::*;
    let long_label = format!("{}.example", "a".repeat(64));
    let long_name = format!("{}.example", ["a"; 130].join("."));
    for (text, problem) in [
        ("", Empty),
        ("*", Wildcard),
        ("*.", Empty),
        ("*.com", Wildcard),
        ("example.*", Wildcard),
        ("a*.example.org", Wildcard),
        ("*.*.example.org", Wildcard),
        ("a.*.example.org", Wildcard),
        ("*.127.0.0.1", Wildcard),
        ("https://example.org", NotOnlyHost),
        ("example.org/path", NotOnlyHost),
        ("user@example.org", NotOnlyHost),
        ("example.org@evil", NotOnlyHost),
        ("evil#example.org", NotOnlyHost),
        ("evil\\example.org", NotOnlyHost),
        ("Example.org", Capital),
        ("example.org.", TrailingDot),
        ("example..org", EmptyLabel),
        (".example.org", EmptyLabel),
        (".", EmptyLabel),
        ("exa mple.org", Character),
        ("example.org\0.evil", Character),
        ("example.org\r\n", Character),
        ("example.org\t", Character),
        ("%65xample.org", Character),
        ("example。org", Character),
        ("ｅxample.org", Character),
        ("münchen.de", Character),
        ("under_score.org", Character),
        ("-a.example", Hyphen),
        ("a-.example", Hyphen),
        ("ab--c.example", Hyphen),
        ("xn--.example", Punycode),
        ("xn--a.example", Punycode),
        ("xn--abc-.example", Punycode),
        ("xn--99999999.example", Punycode),
        (long_label.as_str(), TooLong),
        (long_name.as_str(), TooLong),
        ("127.1", Address),
        ("0177.0.0.1", Address),
        ("0x7f.0.0.1", Address),
        ("2130706433", Address),
        ("0x7f000001", Address),
        ("1.2.3.4.5", Address),
        ("256.1.1.1", Address),
        ("::1", Address),
        ("[::1", Address),
        ("[0:0::1]", Address),
        ("[::FFFF:1]", Address),
        ("[fe80::1%25eth0]", Address),
        ("[example.org]", Address),
        ("[::1]x", Address),
        ("example.org:", Port),
        ("example.org:0", Port),
        ("example.org:080", Port),
        ("example.org:65536", Port),
        ("example.org:http", Port),
        ("example.org:+80", Port),
        ("a:b:c", Address),
    ] {
        assert_eq!(HostPattern::parse(text), Err(problem), "{text:?}");
    }
}

/// A wildcard stands for exactly one label; a port that is not named means 443.
#[test]
fn covering_is_exact() {
    let host = |text| Host::parse(text).unwrap();
    let wildcard = pattern("*.example.org");
    assert!(wildcard.covers(&host("api.example.org"), 443));
    assert!(!wildcard.covers(&host("api.example.org"), 80));
    assert!(!wildcard.covers(&host("example.org"), 443));
    assert!(!wildcard.covers(&host("a.b.example.org"), 443));
    assert!(!wildcard.covers(&host("badexample.org"), 443));
    assert!(pattern("localhost:9000").covers(&host("localhost"), 9000));
    assert!(pattern("127.0.0.1:80").covers(&host("127.0.0.1"), 80));
    assert!(!pattern("127.0.0.1").covers(&host("[::ffff:127.0.0.1]"), 443));
    assert!(wildcard.contains(&pattern("api.example.org")));
    assert!(wildcard.contains(&wildcard));
    assert!(!pattern("api.example.org").contains(&wildcard));
}
