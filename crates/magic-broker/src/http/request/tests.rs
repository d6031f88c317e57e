//! Requests that are read, and those that are not.

use super::*;
use magic_contract::ErrorCode;
use proptest::prelude::*;
use serde_json::json;

fn parse(params: &serde_json::Value) -> Result<Asked, Failure> {
    Asked::parse(&params.to_string(), &EgressLimits::default())
}

fn with_header(name: &str, value: &str) -> Result<Asked, Failure> {
    parse(&json!({"method": "GET", "url": "https://a.example/", "headers": [[name, value]]}))
}

/// Each member in full.
#[test]
fn a_whole_request_is_read() {
    let asked = parse(&json!({
        "method": "POST", "url": "https://a.example/", "headers": [["X-A", "1"], ["x-a", "ü"]],
        "body_base64": "AAE=", "timeout_ms": 1500, "redirects": false,
    }))
    .unwrap();
    assert_eq!(asked.method, HttpMethod::Post);
    assert_eq!(asked.headers.len(), 2);
    assert_eq!(asked.body.as_ref(), [0, 1]);
    assert_eq!(asked.timeout, Some(Duration::from_millis(1500)));
    assert!(!asked.follow);
    let asked =
        parse(&json!({"method": "GET", "url": "x", "headers": null, "body": null})).unwrap();
    assert!(asked.body.is_empty() && asked.follow && asked.timeout.is_none());
}

/// Headers that only the runtime writes, and texts that are no header; each with a twin that is.
#[test]
fn headers_are_strict() {
    for name in [
        "Host",
        "content-length",
        "Transfer-Encoding",
        "CONNECTION",
        "Keep-Alive",
        "upgrade",
        "Expect",
        "TE",
        "Trailer",
        "Proxy-Authorization",
        "proxy-connection",
        "Accept-Encoding",
        "HTTP2-Settings",
    ] {
        let failure = with_header(name, "x").unwrap_err();
        assert!(failure.message.contains(name), "{}", failure.message);
        assert!(with_header(&format!("X-{name}"), "x").is_ok());
    }
    for name in ["", " ", "a b", "a:b", "a\r\nb", "ü", "a\0", "a/b", "(x)"] {
        assert!(with_header(name, "x").is_err(), "{name:?}");
    }
    for value in ["a\r\nX: y", "a\nb", "a\rb", "a\0b", "\u{1}", "\u{7f}"] {
        let failure = with_header("X-Name", value).unwrap_err();
        assert!(failure.message.contains("X-Name"));
        assert!(!failure.message.contains(value));
    }
    for value in ["", "a\tb", "Bearer x", "ü", " padded "] {
        assert!(with_header("X-Name", value).is_ok(), "{value:?}");
    }
}

/// Counts and sizes.
#[test]
fn sizes_are_bounded() {
    let many = |count: usize| vec![json!(["x-a", "1"]); count];
    let request = |headers: Vec<serde_json::Value>, body: usize| {
        parse(&json!({
            "method": "PUT", "url": "x", "headers": headers, "body": "b".repeat(body),
        }))
    };
    assert!(request(many(MOST_HEADERS), 1).is_ok());
    assert!(request(many(MOST_HEADERS + 1), 1).is_err());
    assert!(with_header("x", &"v".repeat(30_000)).is_ok());
    let failure = with_header("x", &"v".repeat(40_000)).unwrap_err();
    assert_eq!(failure.code, ErrorCode::BudgetExceeded);
    assert!(request(vec![], 5 << 20).is_ok());
    let failure = request(vec![], (5 << 20) + 1).unwrap_err();
    assert_eq!(failure.code, ErrorCode::BudgetExceeded);
    assert_eq!(failure.details["budget"], "bytes");
}

/// What does not fit is a misuse and no panic.
#[test]
fn misfits_are_named() {
    for params in [
        json!(null),
        json!([]),
        json!({}),
        json!({"method": "GET"}),
        json!({"method": "CONNECT", "url": "x"}),
        json!({"method": "get", "url": "x"}),
        json!({"method": "TRACE", "url": "x"}),
        json!({"method": "GET\r\n", "url": "x"}),
        json!({"method": "GET", "url": "x", "proxy": "y"}),
        json!({"method": "GET", "url": "x", "verify": false}),
        json!({"method": "GET", "url": "x", "body": "a", "body_base64": "YQ=="}),
        json!({"method": "GET", "url": "x", "body_base64": "%"}),
        json!({"method": "GET", "url": "x", "timeout_ms": 0}),
        json!({"method": "GET", "url": "x", "timeout_ms": -1}),
        json!({"method": "GET", "url": "x", "headers": {"a": "b"}}),
        json!({"method": "GET", "url": "x", "headers": [["a"]]}),
        json!({"method": "GET", "url": "x", "headers": [["a", "b", "c"]]}),
    ] {
        let failure = parse(&params).unwrap_err();
        assert_eq!(failure.code, ErrorCode::ControllerFailed, "{params}");
        assert_eq!(failure.reason(), Some("backend"), "{params}");
    }
}

proptest! {
    /// A value that passes can be written, and has nothing that ends a line.
    #[test]
    fn values_that_pass_have_no_line_ends(value in any::<String>()) {
        if with_header("x", &value).is_ok() {
            prop_assert!(!value.contains(['\r', '\n', '\0']));
        }
    }
}
