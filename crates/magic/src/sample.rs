//! A first input to try: the contract's own example, or one made up from its input schema.
//!
//! Only for lines that people paste. It follows the common parts of JSON Schema and then asks the schema itself whether the
//! result is acceptable; if it is not, it is still a better beginning than nothing, since the error names the field.

use magic_contract::Contract;
use serde_json::{Map, Value, json};

/// How deep a made-up value nests.
const DEEPEST: usize = 8;

/// An input that the contract accepts, as far as one was found.
pub(crate) fn input_for(contract: &Contract) -> Value {
    match contract.examples.first() {
        Some(example) => example.input.clone(),
        None => made_up(contract.input.as_value()),
    }
}

/// A value for a schema.
pub(crate) fn made_up(schema: &Value) -> Value {
    value_for(schema, schema, DEEPEST)
}

fn value_for(schema: &Value, root: &Value, depth: usize) -> Value {
    let Some(keywords) = schema.as_object() else {
        return json!({});
    };
    if depth == 0 {
        return Value::Null;
    }
    if let Some(target) = keywords
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|reference| root.pointer(reference.strip_prefix('#')?))
    {
        return value_for(target, root, depth - 1);
    }
    for key in ["const", "default"] {
        if let Some(value) = keywords.get(key) {
            return value.clone();
        }
    }
    for key in ["examples", "enum"] {
        if let Some(first) = keywords
            .get(key)
            .and_then(Value::as_array)
            .and_then(|list| list.first())
        {
            return first.clone();
        }
    }
    for key in ["oneOf", "anyOf"] {
        if let Some(first) = keywords
            .get(key)
            .and_then(Value::as_array)
            .and_then(|list| list.first())
        {
            return value_for(first, root, depth - 1);
        }
    }
    match type_of(keywords) {
        "string" => string_for(keywords),
        "integer" => json!(
            number(keywords, "minimum")
                .or(number(keywords, "exclusiveMinimum").map(|least| least + 1.0))
                .unwrap_or(1.0)
                .ceil()
        ),
        "number" => json!(
            number(keywords, "minimum")
                .or(number(keywords, "exclusiveMinimum").map(|least| least + 0.5))
                .unwrap_or(1.5)
        ),
        "boolean" => json!(true),
        "array" => array_for(keywords, root, depth),
        "null" => Value::Null,
        _ => object_for(keywords, root, depth),
    }
}

/// The declared type, or the one that the keywords speak of.
fn type_of(keywords: &Map<String, Value>) -> &str {
    match keywords.get("type") {
        Some(Value::String(name)) => name,
        Some(Value::Array(names)) => names
            .iter()
            .filter_map(Value::as_str)
            .find(|name| *name != "null")
            .unwrap_or("null"),
        _ if keywords.contains_key("items") => "array",
        _ => "object",
    }
}

fn number(keywords: &Map<String, Value>, key: &str) -> Option<f64> {
    keywords.get(key).and_then(Value::as_f64)
}

fn string_for(keywords: &Map<String, Value>) -> Value {
    let text = match keywords.get("format").and_then(Value::as_str) {
        Some("uuid") => "3f2b8c1e-5d4a-4e6f-9a7b-0c1d2e3f4a5b",
        Some("date") => "2026-01-31",
        Some("date-time") => "2026-01-31T12:00:00Z",
        Some("time") => "12:00:00Z",
        Some("duration") => "PT1H",
        Some("email" | "idn-email") => "ada@example.org",
        Some("hostname" | "idn-hostname") => "example.org",
        Some("ipv4") => "192.0.2.1",
        Some("ipv6") => "2001:db8::1",
        Some("uri" | "iri" | "uri-reference" | "iri-reference") => "https://example.org/",
        _ => "text",
    };
    let length = |key: &str| {
        keywords
            .get(key)
            .and_then(Value::as_u64)
            .and_then(|length| usize::try_from(length).ok())
    };
    let mut text = text.to_owned();
    // A line to paste does not need thousands of letters to be a beginning.
    while text.chars().count() < length("minLength").unwrap_or(0).min(200) {
        text.push('x');
    }
    if let Some(most) = length("maxLength") {
        text = text.chars().take(most).collect();
    }
    json!(text)
}

fn array_for(keywords: &Map<String, Value>, root: &Value, depth: usize) -> Value {
    let item = keywords.get("items").cloned().unwrap_or(Value::Bool(true));
    let least = keywords
        .get("minItems")
        .and_then(Value::as_u64)
        .unwrap_or(1)
        .clamp(1, 3);
    (0..least)
        .map(|_| value_for(&item, root, depth - 1))
        .collect()
}

/// The required members, and those with a default left out: that is what a caller must send.
fn object_for(keywords: &Map<String, Value>, root: &Value, depth: usize) -> Value {
    let properties = keywords.get("properties").and_then(Value::as_object);
    let mut object = Map::new();
    for name in keywords
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let Some(name) = name.as_str() else { continue };
        let schema = properties
            .and_then(|properties| properties.get(name))
            .cloned()
            .unwrap_or(json!({"type": "string"}));
        object.insert(name.to_owned(), value_for(&schema, root, depth - 1));
    }
    for part in keywords
        .get("allOf")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        if let Value::Object(members) = value_for(part, root, depth - 1) {
            object.extend(members);
        }
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a made-up value looks like.
    #[test]
    fn values_are_made_up() {
        for (schema, value) in [
            (json!({"type": "object"}), json!({})),
            (
                json!({"type": "object", "required": ["id", "n", "tags", "who"], "properties": {
                    "id": {"type": "string", "format": "uuid"},
                    "n": {"type": "integer", "minimum": 3},
                    "tags": {"type": "array", "items": {"enum": ["red", "blue"]}},
                    "who": {"$ref": "#/definitions/person"},
                    "optional": {"type": "string"},
                }, "definitions": {"person": {"type": "object", "required": ["name"], "properties": {"name": {"default": "Ada"}}}}}),
                json!({"id": "3f2b8c1e-5d4a-4e6f-9a7b-0c1d2e3f4a5b", "n": 3.0, "tags": ["red"], "who": {"name": "Ada"}}),
            ),
            (json!({"type": ["null", "boolean"]}), json!(true)),
            (json!({"type": "string", "minLength": 6}), json!("textxx")),
        ] {
            assert_eq!(made_up(&schema), value, "{schema}");
        }
    }

    /// A schema that refers to itself ends.
    #[test]
    fn a_schema_that_contains_itself_ends() {
        let schema =
            json!({"type": "object", "required": ["next"], "properties": {"next": {"$ref": "#"}}});
        assert!(made_up(&schema).to_string().len() < 1000);
    }
}
