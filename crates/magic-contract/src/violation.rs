//! One broken rule, worded for the person who has to mend the value.
//!
//! A violation travels to callers and into logs, so it must be harmless by construction: the
//! received value is *described*, never copied whole, strings are cut and escaped, and a value that
//! the schema marks as secret (`writeOnly`, or `format: password`) is masked.

use serde::Serialize;
use serde_json::{Value, json};

/// The longest string that is shown, in characters.
const SHOWN_CHARACTERS: usize = 64;

/// What is shown instead of a secret.
const MASK: &str = "(masked)";

/// One rule of a schema that a value breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Violation {
    /// The place in the value, as a JSON Pointer; empty for the value itself.
    pub field: String,
    /// The rule, named by its schema keyword.
    pub constraint: String,
    /// What the rule accepts.
    pub expected: String,
    /// A bounded, escaped description of what was there.
    pub received: String,
    /// The sentence for people.
    pub message: String,
}

impl Violation {
    pub(crate) fn new(field: String, constraint: &str, expected: String, received: String) -> Self {
        let place = if field.is_empty() {
            "the value"
        } else {
            field.as_str()
        };
        let message = format!("{place}: expected {expected}, received {received}");
        Self {
            field,
            constraint: constraint.to_owned(),
            expected,
            received,
            message,
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "field": self.field,
            "constraint": self.constraint,
            "expected": self.expected,
            "received": self.received,
        })
    }
}

/// Describes a value that came from outside in at most about a hundred characters.
pub(crate) fn describe(value: &Value, masked: bool) -> String {
    match value {
        Value::Object(members) => {
            counted(members.len(), "an object with", "property", "properties")
        }
        Value::Array(items) => counted(items.len(), "an array with", "item", "items"),
        _ if masked => MASK.to_owned(),
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => shorten(&number.to_string()),
        Value::String(text) => quote(text),
    }
}

fn counted(count: usize, what: &str, one: &str, many: &str) -> String {
    format!("{what} {count} {}", if count == 1 { one } else { many })
}

/// A string in quotation marks, cut and with every unusual character escaped.
pub(crate) fn quote(text: &str) -> String {
    let mut shown = String::from("\"");
    let mut characters = text.chars();
    for character in characters.by_ref().take(SHOWN_CHARACTERS) {
        push_escaped(&mut shown, character);
    }
    shown.push('"');
    if characters.next().is_some() {
        shown.push_str(&format!("… ({} bytes)", text.len()));
    }
    shown
}

/// The text as it is, cut and with every unusual character escaped.
pub(crate) fn shorten(text: &str) -> String {
    shorten_to(text, SHOWN_CHARACTERS)
}

/// The same with another length.
pub(crate) fn shorten_to(text: &str, longest: usize) -> String {
    let mut shown = String::new();
    let mut characters = text.chars();
    for character in characters.by_ref().take(longest) {
        push_escaped(&mut shown, character);
    }
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}

/// Control characters could drive a terminal; direction and invisible marks could make a line read
/// as something else. All of these are written as escapes.
fn push_escaped(shown: &mut String, character: char) {
    let invisible = matches!(character,
        '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}'
        | '\u{E0000}'..='\u{E007F}');
    if character.is_control() || invisible || character == '"' || character == '\\' {
        shown.extend(character.escape_default());
    } else {
        shown.push(character);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever comes in, the description is short, on one line and free of control characters.
    #[test]
    fn descriptions_are_bounded_and_escaped() {
        let long = "a\u{1b}[31m\u{202e}\n".repeat(1_000_000);
        let shown = describe(&Value::String(long), false);
        assert!(shown.len() < 1024, "{}", shown.len());
        assert!(!shown.chars().any(char::is_control));
        assert!(!shown.contains('\u{202e}'));
        assert_eq!(describe(&json!("secret"), true), MASK);
        assert_eq!(
            describe(&json!({"a": "secret"}), false),
            "an object with 1 property"
        );
    }
}
