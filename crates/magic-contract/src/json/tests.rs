//! Bodies that are taken and bodies that are refused, with the place.

use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Result<Value, String> {
    read_json(text.as_bytes(), JsonLimits::default()).map_err(|failure| {
        assert_eq!(failure.code, ErrorCode::UnacceptableBody);
        failure.message
    })
}

/// Values arrive as they were sent.
#[test]
fn documents_are_read() {
    for text in [
        "null",
        "true",
        "0",
        "-1",
        "18446744073709551615",
        "-9223372036854775808",
        "1.5",
        "\"\"",
        "\"\\ud83d\\ude00\"",
        "[]",
        "{}",
        " {\"a\": [1, {\"b\": null}]} \n",
    ] {
        let expected: Value = serde_json::from_str(text).unwrap();
        assert_eq!(read(text).unwrap(), expected, "{text}");
    }
}

/// Everything else is refused.
#[test]
fn other_texts_are_refused() {
    for text in [
        "",
        "  \n",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "{'a':1}",
        "NaN",
        "Infinity",
        "-",
        "01",
        "1.",
        ".5",
        "1e999",
        "-1e999",
        "\"\\ud83d\"",
        "\"a\nb\"",
        "\"\\x41\"",
        "// c\n1",
        "1 2",
        "{} x",
        "\u{feff}1",
        "nul",
        "{1: 2}",
        "\"",
    ] {
        assert!(read(text).is_err(), "{text:?} should be refused");
    }
}

/// A repeated key is refused at every level, with the place.
#[test]
fn a_key_cannot_be_given_twice() {
    let failure = read_json(
        b"{\"a\": {\n  \"b\": 1,\n  \"b\": 2}}",
        JsonLimits::default(),
    )
    .unwrap_err();
    assert!(
        failure.message.contains("`b` is given twice"),
        "{}",
        failure.message
    );
    assert_eq!(failure.details["line"], 3);
    assert!(read("{\"a\": 1, \"\\u0061\": 2}").is_err());
}

/// Depth and size end reading early.
#[test]
fn limits_hold() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(read(&nested(100)).is_ok());
    assert!(
        read(&nested(101))
            .unwrap_err()
            .contains("nested too deeply")
    );
    assert!(
        read(&"[".repeat(1_000_000))
            .unwrap_err()
            .contains("nested too deeply")
    );
    let few = |bytes, values| JsonLimits {
        bytes,
        values,
        ..JsonLimits::default()
    };
    let failure = read_json(b"[1, 2]", few(3, 9)).unwrap_err();
    assert_eq!(failure.reason(), Some("too_large"));
    assert!(read_json(b"[{\"a\": 1}, 2]", few(99, 4)).is_ok());
    let failure = read_json(b"[{\"a\": 1}, 2]", few(99, 3)).unwrap_err();
    assert!(failure.message.contains("too many values"), "{failure}");
    let failure = read_json(b"[\"a\xff\"]", JsonLimits::default()).unwrap_err();
    assert_eq!(failure.details["column"], 4);
}

/// A hostile key does not get into the message whole.
#[test]
fn messages_stay_short() {
    let key = "k".repeat(100_000);
    let message = read(&format!("{{\"{key}\": 1, \"{key}\": 2}}")).unwrap_err();
    assert!(message.len() < 300, "{}", message.len());
}

proptest! {
    /// No bytes make the reader panic, and what it accepts, the reference reader accepts alike.
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(value) = read_json(&bytes, JsonLimits::default()) {
            prop_assert_eq!(value, serde_json::from_slice::<Value>(&bytes).unwrap());
        }
    }

    /// The same with bytes that are nearly JSON.
    #[test]
    fn any_near_json_is_survived(text in "[\\[\\]{},:\"0-9a-c.eE+\\\\ -]{0,60}") {
        if let Ok(value) = read_json(text.as_bytes(), JsonLimits::default()) {
            prop_assert_eq!(value, serde_json::from_str::<Value>(&text).unwrap());
        }
    }
}
