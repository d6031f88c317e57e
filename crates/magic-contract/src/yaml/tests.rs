//! Texts that must be read one way, and texts that must be refused quickly.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::*;

fn value(text: &str) -> Value {
    parse(text)
        .unwrap_or_else(|problem| panic!("{text:?}: {}", problem.message))
        .to_value()
}

fn problem(bytes: &[u8]) -> String {
    text_of(bytes)
        .and_then(parse)
        .map(|node| node.to_value())
        .unwrap_err()
        .message
}

/// YAML's surprises are turned off.
#[test]
fn scalars_mean_what_they_look_like() {
    for (text, expected) in [
        ("no", json!("no")),
        ("on", json!("on")),
        ("yes", json!("yes")),
        ("true", json!(true)),
        ("012", json!("012")),
        ("1_000", json!("1_000")),
        ("1.10", json!(1.1)),
        ("12:30:45", json!("12:30:45")),
        ("2020-01-01", json!("2020-01-01")),
        ("~", json!(null)),
        ("null", json!(null)),
        ("\"\\u00e9\"", json!("é")),
        ("1e3", json!(1000.0)),
        ("0x10", json!(16)),
        (
            "18446744073709551615",
            json!(18_446_744_073_709_551_615_u64),
        ),
        ("-5", json!(-5)),
        (
            "{\"a\": [1, {\"b\": \"c\\/d\"}]}",
            json!({"a": [1, {"b": "c/d"}]}),
        ),
        ("yes: 1\non: 2\n1: x", json!({"yes": 1, "on": 2, "1": "x"})),
        ("a: &x [1]\nb: *x", json!({"a": [1], "b": [1]})),
        ("{\"a\": \"\\ud83d\\ude00\"}", json!({"a": "😀"})),
    ] {
        assert_eq!(value(text), expected, "{text}");
    }
}

/// Every node knows its bytes, after wide characters too.
#[test]
fn places_are_bytes() {
    let text = "ä: 1\nfoo:\n  - bär\n  - {x: yes}\n";
    let node = parse(text).unwrap();
    assert_eq!(&text[node.locate("/ä")], "1");
    assert_eq!(&text[node.locate("/foo")], "foo");
    assert_eq!(&text[node.locate("/foo/0")], "bär");
    assert_eq!(&text[node.locate("/foo/1/x")], "yes");
    assert_eq!(
        &text[node.locate("/foo/1/missing")],
        &text[node.locate("/foo/1")]
    );
}

/// Hostile or broken texts are refused with a message of our own.
#[test]
fn broken_texts_are_refused() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let previous = format!("*a{}, ", level - 1).repeat(9);
        let _ = writeln!(
            bomb,
            "a{level}: &a{level} [{}]",
            previous.trim_end_matches(", ")
        );
    }
    for (text, part) in [
        (bomb.as_bytes(), "alias"),
        ("[".repeat(200_000).as_bytes(), "levels deep"),
        ("- ".repeat(100_000).as_bytes(), "levels deep"),
        ("{a: ".repeat(50_000).as_bytes(), "levels deep"),
        ("x\n".repeat(300_000).as_bytes(), "at most 262144"),
        ("- x\n".repeat(60_000).as_bytes(), "more than 20000 nodes"),
        (b"a: 1\na: 2".as_slice(), "`a` is given twice"),
        (b"{\"a\": 1, \"\\u0061\": 2}", "`a` is given twice"),
        (b"a: &x {b: 1}\nc: {<<: *x}", "merge keys"),
        (b"a: 1\n---\nb: 2", "more than one document"),
        (b"a: *nowhere", "anchor"),
        (b"a: \xff", "not UTF-8"),
        (b"a: \x00b", "control character U+0000"),
        (b"a: \x1b[31m", "control character U+001B"),
        (b"a: .inf", "finite"),
        (b"a: .nan", "finite"),
        (b"a: 1e999", "finite"),
        (b"a: [1, 2", ""),
        (b"a: 'x", ""),
        (b"a:\n\t- b", ""),
        (b"a: b: c", ""),
        (b"a: !!python/object:os.system x", ""),
        (b"a: &a [*a]", ""),
        (b"? [a, b]\n: c", ""),
    ] {
        let message = problem(text);
        assert!(
            message.contains(part),
            "{:?}: {message}",
            String::from_utf8_lossy(&text[..text.len().min(40)])
        );
        assert!(
            message.len() < 400 && !message.chars().any(char::is_control),
            "{message:?}"
        );
    }
}

/// Chains of aliases cannot make the tree deeper than the stack.
#[test]
fn nested_aliases_are_bounded() {
    let mut chain = String::new();
    for level in 0..60 {
        let inner = if level == 0 {
            "x".to_owned()
        } else {
            format!("*a{}", level - 1)
        };
        let _ = writeln!(
            chain,
            "a{level}: &a{level} {}{inner}{}",
            "[".repeat(60),
            " ]".repeat(60)
        );
    }
    assert!(!problem(chain.as_bytes()).is_empty());
}
