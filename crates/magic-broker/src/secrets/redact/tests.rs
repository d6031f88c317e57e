//! Every notation, at every place; and text without secrets, which stays.

use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::json;
use zeroize::Zeroizing;

/// Awkward on purpose: quotes, backslashes, slashes, spaces, signs of base64, and beyond ASCII.
const SECRET: &str = "p\"ä/s+s\\wö=r d&é😀<1}";

fn redactor(values: &[(&str, &str)]) -> Redactor {
    let redactor = Redactor::new();
    for (name, value) in values {
        let value = SecretValue::new(Zeroizing::new(value.as_bytes().to_vec())).expect("a value");
        redactor.learn(&name.parse().expect("a name"), &value);
    }
    redactor
}

/// Percent-encodes the bytes that are chosen, and those beyond ASCII.
fn percent(text: &str, chosen: impl Fn(usize, u8) -> bool) -> String {
    let encode = |(at, byte): (usize, u8)| {
        if chosen(at, byte) || !byte.is_ascii() {
            format!("%{byte:02X}")
        } else {
            char::from(byte).to_string()
        }
    };
    text.bytes().enumerate().map(encode).collect()
}

/// The same with the digits in lower case.
fn lower_digits(text: &str) -> String {
    let mut parts = text.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let (digits, rest) = part.split_at(2);
        format!("{text}%{}{rest}", digits.to_lowercase())
    })
}

fn hexadecimal(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn utf16(text: &str) -> String {
    text.encode_utf16()
        .map(|unit| format!("\\u{unit:04x}"))
        .collect()
}

/// The text as the inside of a JSON string, as Python writes it: ASCII only.
fn json_in_ascii(text: &str) -> String {
    let escape = |character: char| {
        if character.is_ascii() {
            character.to_string()
        } else {
            utf16(&character.to_string())
        }
    };
    json_text(text).chars().map(escape).collect()
}

fn json_text(text: &str) -> String {
    let quoted = serde_json::to_string(text).expect("JSON");
    quoted[1..quoted.len() - 1].to_owned()
}

/// The encodings of a text that leave nothing of it beside the marker.
fn encodings(text: &str) -> Vec<(&'static str, String)> {
    let reserved = |_: usize, byte: u8| !byte.is_ascii_alphanumeric();
    let spaces = |_: usize, byte: u8| byte != b' ' && !byte.is_ascii_alphanumeric();
    vec![
        ("plain", text.to_owned()),
        ("JSON", json_text(text)),
        ("JSON in ASCII", json_in_ascii(text)),
        (
            "JSON with escaped slashes",
            json_text(text).replace('/', "\\/"),
        ),
        ("JSON, every character", utf16(text)),
        ("Rust debug", text.escape_debug().to_string()),
        ("Rust Unicode", text.escape_unicode().to_string()),
        ("percent", percent(text, reserved)),
        (
            "percent, lower case",
            lower_digits(&percent(text, reserved)),
        ),
        ("percent, every byte", percent(text, |_, _| true)),
        (
            "percent, in part",
            percent(text, |at, byte| byte == b'%' || at % 3 == 0),
        ),
        ("form", percent(text, spaces).replace(' ', "+")),
        ("base64", STANDARD_NO_PAD.encode(text)),
        ("base64 for URLs", URL_SAFE_NO_PAD.encode(text)),
        (
            "base64 in JSON",
            STANDARD_NO_PAD.encode(text).replace('/', "\\/"),
        ),
        (
            "base64 in a URL",
            percent(&STANDARD_NO_PAD.encode(text), reserved),
        ),
        ("hexadecimal", hexadecimal(text)),
        ("hexadecimal, upper case", hexadecimal(text).to_uppercase()),
    ]
}

/// Each encoding is replaced whole, and its twin, the encoding of one character less, stays whole.
#[test]
fn every_encoding_is_found() {
    let redactor = redactor(&[("KEY", SECRET)]);
    let shorter = &SECRET[..SECRET.len() - 1];
    for ((name, text), (_, twin)) in encodings(SECRET).into_iter().zip(encodings(shorter)) {
        for (before, after) in [("", ""), ("<", ">"), ("value: ", "\n"), ("é", "é")] {
            let whole = format!("{before}{text}{after}");
            let expected = format!("{before}[secret KEY]{after}");
            assert_eq!(redactor.text(&whole), expected, "{name}");
            let bytes = redactor.bytes(whole.as_bytes());
            assert_eq!(bytes.as_deref(), Some(expected.as_bytes()), "{name}");
            let whole = format!("{before}{twin}{after}");
            assert_eq!(redactor.text(&whole), whole, "{name}");
            assert_eq!(redactor.bytes(whole.as_bytes()), None, "{name}");
        }
    }
}

/// In base64 of a longer text the secret goes with the digits that it shares with its neighbors,
/// at each of the three offsets, and wherever the run of digits is thought to begin.
#[test]
fn base64_is_found_at_every_offset() {
    let redactor = redactor(&[("KEY", SECRET)]);
    for before in ["", "u", "u:", "us:", "user:", "someone:"] {
        for after in ["", ":", ":m", ":more"] {
            for engine in [&STANDARD, &URL_SAFE] {
                for joined in ["", "x", "xy", "xyz", "Basic "] {
                    let text = engine.encode(format!("{before}{SECRET}{after}"));
                    let start = before.len() * 8 / 6;
                    let end = ((before.len() + SECRET.len()) * 8).div_ceil(6);
                    let expected =
                        format!("{joined}{}[secret KEY]{}", &text[..start], &text[end..]);
                    assert_eq!(redactor.text(&format!("{joined}{text}")), expected);
                }
            }
        }
    }
    let long = STANDARD.encode(format!("{}{SECRET}", "x".repeat(100)));
    let lines: Vec<&str> = long
        .as_bytes()
        .chunks(19)
        .map(|line| str::from_utf8(line).unwrap())
        .collect();
    for ending in ["\n", "\r\n"] {
        let redacted = redactor.text(&lines.join(ending)).into_owned();
        assert!(redacted.ends_with("[secret KEY]"), "{redacted}");
    }
}

/// A value with lines is found by the line; lines that are short are not.
#[test]
fn lines_of_a_value_are_found() {
    let key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\nshort\n-----END KEY-----";
    let redactor = redactor(&[("PEM", key)]);
    assert_eq!(redactor.text(key), "[secret PEM]");
    assert_eq!(redactor.text(&json_text(key)), "[secret PEM]");
    assert_eq!(redactor.text("> MIIEvQIBADANBgkq"), "> [secret PEM]");
    assert_eq!(
        redactor.text(&hexadecimal("hkiG9w0BAQEFAASC")),
        "[secret PEM]"
    );
    assert_eq!(redactor.text("short"), "short");
    let twice = json_text(&json_text(key));
    assert!(!redactor.text(&twice).contains("MIIE"));
}

/// Short values are not looked for, as documented; four bytes are enough.
#[test]
fn three_bytes_are_no_secret() {
    let both = redactor(&[("SHORT", "abc"), ("ENOUGH", "wxyz")]);
    assert_eq!(both.text("abc wxyz abc"), "abc [secret ENOUGH] abc");
    assert_eq!(redactor(&[("SHORT", "abc")]).text("abc"), "abc");
    assert_eq!(redactor(&[("SHORT", "abc")]).reach(), 0);
}

/// Secrets within, beside and across each other.
#[test]
fn secrets_may_overlap() {
    let redactor = redactor(&[("INNER", "bcde"), ("OUTER", "abcdef"), ("NEXT", "efgh")]);
    for (text, expected) in [
        ("bcde", "[secret INNER]"),
        ("abcdef", "[secret OUTER]"),
        ("xbcdex", "x[secret INNER]x"),
        ("abcdefgh", "[secret OUTER]"),
        ("abcdefefgh", "[secret OUTER][secret NEXT]"),
        ("abcdebcde", "a[secret INNER][secret INNER]"),
    ] {
        assert_eq!(redactor.text(text), expected);
    }
}

/// Texts, names of members and numbers of a value; a value without secrets is not touched.
#[test]
fn json_is_redacted_all_over() {
    let redactor = redactor(&[("KEY", "hunter22"), ("PIN", "73501")]);
    let mut value = json!({
        "plain": "with hunter22 in it",
        "list": [1, null, {"deep": "aHVudGVyMjI="}],
        "hunter22": true,
        "pin": 73501,
        "other": 7350.5,
    });
    redactor.json(&mut value);
    let expected = json!({
        "plain": "with [secret KEY] in it",
        "list": [1, null, {"deep": "[secret KEY]="}],
        "[secret KEY]": true,
        "pin": "[secret PIN]",
        "other": 7350.5,
    });
    assert_eq!(value, expected);
    redactor.json(&mut value);
    assert_eq!(value, expected);
    let Value::Object(mut members) = json!({"a": "hunter22", "hunter22": ["hunter22"]}) else {
        panic!("an object");
    };
    redactor.members(&mut members);
    assert_eq!(
        Value::Object(members),
        json!({"a": "[secret KEY]", "[secret KEY]": ["[secret KEY]"]})
    );
}

/// Clones know what the others learn; nothing shows what is known.
#[test]
fn clones_know_the_same() {
    let one = Redactor::new();
    let other = one.clone();
    assert_eq!(other.text("hunter22"), "hunter22");
    let value = SecretValue::new(Zeroizing::new(b"hunter22".to_vec())).expect("a value");
    one.learn(&"KEY".parse().expect("a name"), &value);
    assert_eq!(other.text("hunter22"), "[secret KEY]");
    assert_eq!(format!("{other:?}"), "Redactor(..)");
}

/// Texts made to cost much: one pass has an end, and their overlapping secrets are one range.
#[test]
fn hostile_text_is_read_in_one_pass() {
    let nested: Vec<String> = (4..200).map(|length| "a".repeat(length)).collect();
    let nested: Vec<(&str, &str)> = nested.iter().map(|value| ("KEY", value.as_str())).collect();
    let redactor = redactor(&nested);
    assert_eq!(redactor.text(&"a".repeat(1 << 18)), "[secret KEY]");
    assert_eq!(redactor.text(&"%61".repeat(1 << 18)), "[secret KEY]");
    assert_eq!(redactor.text(&"\\u0061".repeat(1 << 16)), "[secret KEY]");
    for piece in [
        "aaab",
        "\\",
        "%",
        "%6",
        "\\u",
        "\\u{",
        "\\ud800",
        "+",
        "YWFh\n",
        "61",
        "aaa\u{e9}",
    ] {
        let text = piece.repeat((1 << 17) / piece.len());
        let _ = redactor.text(&text);
        let _ = redactor.bytes(text.as_bytes());
    }
}

/// What a capture does: cut at most every `line` bytes, look `reach` further, keep what is left.
fn captured(redactor: &Redactor, text: &str, line: usize) -> Vec<u8> {
    let mut rest = text.as_bytes();
    let mut kept = Vec::new();
    while !rest.is_empty() {
        let seen = &rest[..rest.len().min(line + redactor.reach())];
        let end = redactor.cut(seen, line.min(seen.len()));
        let piece = &rest[..end];
        kept.extend(redactor.bytes(piece).unwrap_or_else(|| piece.to_vec()));
        kept.push(b'\n');
        rest = &rest[end..];
    }
    kept
}

fn secrets() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z0-9_]{6,40}",
        "[ -~]{6,40}",
        "\\PC{6,20}",
        "[ab]{6,8}",
    ]
}

proptest! {
    /// In whatever text and notation: the encoded secret does not survive, the text around does.
    #[test]
    fn no_secret_survives(
        secret in secrets(),
        before in "\\PC{0,40}",
        after in "\\PC{0,40}",
        choice in any::<prop::sample::Index>(),
    ) {
        let redactor = redactor(&[("K", &secret)]);
        let all = encodings(&secret);
        let (_, text) = &all[choice.index(all.len())];
        prop_assume!(!before.contains(&*secret) && !after.contains(&*secret));
        prop_assume!(!"[secret K]".contains(&*secret));
        // The brackets end runs of digits, so that what stands around is no part of the encoding.
        let whole = format!("{before}<{text}>{after}");
        let redacted = redactor.text(&whole).into_owned();
        prop_assert!(!redacted.contains(&secret), "{redacted}");
        prop_assert!(!redacted.contains(text), "{redacted}");
        prop_assert!(redacted.contains("[secret K]"));
        if secret.is_ascii() && !secret.contains(['<', '>']) {
            prop_assert_eq!(redacted, format!("{before}<[secret K]>{after}"));
        }
    }

    /// Text that has nothing of a secret stays byte for byte.
    #[test]
    fn other_text_stays(text in "[ -~é\n]{0,300}", bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let redactor = redactor(&[("K", "Zq7-unlikely-3f9c1e")]);
        prop_assert_eq!(redactor.text(&text), text.as_str());
        prop_assert_eq!(redactor.bytes(&bytes), None);
    }

    /// Any text and any bytes are read to their end, and text stays text.
    #[test]
    fn arbitrary_text_never_panics(
        text in "[\\\\u%x0-9a-f{}+=\né😀]{0,200}",
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
    ) {
        let redactor = redactor(&[("A", "0000"), ("B", "é😀é"), ("C", "aaaa aaaa"), ("D", "\u{0}\u{0}\u{0}\u{0}")]);
        let _ = redactor.text(&text);
        let _ = redactor.bytes(&bytes);
        let at = at.index(bytes.len() + 1);
        let cut = redactor.cut(&bytes, at);
        prop_assert!(cut <= bytes.len() && (cut > 0 || at == 0));
    }

    /// Cutting a stream into lines cuts no secret in two.
    #[test]
    fn a_cut_does_not_split_a_secret(
        before in 0_usize..80,
        line in 10_usize..60,
        choice in any::<prop::sample::Index>(),
    ) {
        let secret = "sk_live_51HxYz";
        let redactor = redactor(&[("K", secret)]);
        let all = encodings(secret);
            let (_, text) = &all[choice.index(all.len())];
        let whole = format!("{}<{text}>{}", ".".repeat(before), ".".repeat(40));
        let kept = captured(&redactor, &whole, line);
        let kept = String::from_utf8(kept).expect("text");
        let kept: String = kept.lines().collect();
        prop_assert_eq!(kept, whole.replace(text.as_str(), "[secret K]"));
    }
}
