//! What a contract puts of its input into the log: the members that `observability.log_fields` names.
//!
//! They are in the one line that tells how the request ended, after the request's secrets were taken out, and cut so that a caller
//! cannot fill a disk.

use magic_broker::secrets::Redactor;
use magic_contract::Contract;
use serde_json::{Map, Value};
use std::sync::OnceLock;

/// The most bytes that one member takes.
const LONGEST: usize = 256;

/// The named members of one request's input.
#[derive(Debug, Default)]
pub(crate) struct Logged(OnceLock<(Map<String, Value>, Redactor)>);

/// Takes the members that the contract names out of a valid input.
pub(crate) fn named(contract: &Contract, input: &Value) -> Map<String, Value> {
    let names = &contract.observability.log_fields;
    let members = names.iter().filter_map(|name| {
        let value = input.get(name.as_str())?;
        Some((name.to_string(), value.clone()))
    });
    members.collect()
}

impl Logged {
    /// Keeps them, with what hides the secrets that the request is lent.
    pub(crate) fn keep(&self, members: Map<String, Value>, redactor: &Redactor) {
        if !members.is_empty() {
            // A request is validated once.
            let _ = self.0.set((members, redactor.clone()));
        }
    }

    /// Them as JSON text; `None` if there are none.
    pub(crate) fn text(&self) -> Option<String> {
        let (members, redactor) = self.0.get()?;
        let mut members = members.clone();
        redactor.members(&mut members);
        for value in members.values_mut() {
            shorten(value);
        }
        Some(Value::Object(members).to_string())
    }
}

/// Texts are cut; lists and objects are the beginning of their text.
fn shorten(value: &mut Value) {
    let text = match &mut *value {
        Value::Null | Value::Bool(_) | Value::Number(_) => return,
        Value::String(text) => std::mem::take(text),
        Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    let kept = text.floor_char_boundary(LONGEST);
    *value = Value::String(match kept == text.len() {
        true => text,
        false => format!("{}…", &text[..kept]),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Only what is named, and not more than fits.
    #[test]
    fn named_members() {
        let contract = Contract::parse(
            b"name: A\nversion: 1.0.0\ninput: {}\noutput: {}\n\
              observability: { log_fields: [id, note, list, absent] }",
            "contract.yaml",
        )
        .unwrap();
        let input = json!({"id": 7, "note": "\u{e9}".repeat(200), "list": [1], "other": 1});
        let logged = Logged::default();
        let redactor = Redactor::new();
        logged.keep(named(&contract, &input), &redactor);
        let text = logged.text().unwrap();
        let told: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(told["id"], 7);
        assert_eq!(told["list"], "[1]");
        assert_eq!(told["note"].as_str().unwrap(), "\u{e9}".repeat(128) + "…");
        assert!(told.get("other").is_none() && told.get("absent").is_none());
        assert!(named(&contract, &json!([1])).is_empty());
    }
}
