//! Schemas that are built to be expensive, or to break whoever compares them.

use serde_json::Map;

use super::*;
use crate::schema::Schema;

fn members(count: usize, schema: impl Fn(usize) -> Value) -> Value {
    let properties: Map<String, Value> = (0..count)
        .map(|number| (format!("f{number}"), schema(number)))
        .collect();
    json!({ "type": "object", "properties": properties })
}

fn nested(depth: usize, wrap: impl Fn(Value) -> Value, inside: Value) -> Value {
    (0..depth).fold(inside, |schema, _| wrap(schema))
}

/// Expensive pairs, each a schema and one that differs from it.
fn expensive() -> Vec<(&'static str, Value, Value)> {
    let alternatives = |count: usize, from: usize| {
        let list: Vec<Value> = (from..from + count)
            .map(
                |number| json!({ "required": [format!("f{number}")], "minProperties": number % 7 }),
            )
            .collect();
        list
    };
    let conjunction = |rows: usize, from: usize| {
        let list: Vec<Value> = (0..rows)
            .map(|row| json!({ "anyOf": alternatives(16, from + row * 16) }))
            .collect();
        json!({ "type": "object", "allOf": list })
    };
    let doubling = |inside: Value| {
        let mut definitions = Map::new();
        definitions.insert("d0".to_owned(), inside);
        for number in 1..40 {
            let below = json!({ "$ref": format!("#/definitions/d{}", number - 1) });
            let schema = json!({ "properties": { "l": below, "r": below, "m": { "anyOf": [below, { "type": "null" }] } } });
            definitions.insert(format!("d{number}"), schema);
        }
        json!({ "$ref": "#/definitions/d39", "definitions": definitions })
    };
    let conditions = |word: &str| {
        nested(
            7,
            |inner| json!({ "if": { "required": ["a"] }, "then": inner, "else": { "not": inner } }),
            json!({ "required": [word] }),
        )
    };
    let crossed = |word: &str| {
        nested(
            10,
            |inner| json!({ "anyOf": [{ "properties": { "a": inner } }, { "properties": { "b": inner } }] }),
            json!({ "type": word }),
        )
    };
    let defaults = |word: &str| {
        let mut definitions = Map::new();
        definitions.insert("d0".to_owned(), json!({ "type": word, "default": "x" }));
        for number in 1..30 {
            let below = json!({ "$ref": format!("#/definitions/d{}", number - 1) });
            let schema = json!({ "default": {}, "properties": { "l": below, "r": below } });
            definitions.insert(format!("d{number}"), schema);
        }
        json!({ "$ref": "#/definitions/d29", "definitions": definitions })
    };
    let values = |from: usize| {
        let list: Vec<usize> = (from..from + 2_000).collect();
        members(4, |_| json!({ "enum": list }))
    };
    let patterns = |letter: &str| {
        members(
            200,
            |number| json!({ "pattern": format!("^({letter}|b{number}){{1,40}}[a-z]*$") }),
        )
    };
    vec![
        (
            "many fields",
            members(4_000, |_| json!({ "type": "string" })),
            members(4_000, |_| json!({ "type": "integer" })),
        ),
        (
            "few fields",
            members(390, |_| json!({ "type": "string" })),
            members(390, |_| json!({ "type": "integer" })),
        ),
        (
            "alternatives",
            json!({ "anyOf": alternatives(250, 0) }),
            json!({ "anyOf": alternatives(250, 1) }),
        ),
        (
            "exclusive alternatives",
            json!({ "oneOf": alternatives(250, 0) }),
            json!({ "oneOf": alternatives(250, 1) }),
        ),
        (
            "conjunctions of alternatives",
            conjunction(20, 0),
            conjunction(20, 1),
        ),
        (
            "alternatives against conjunctions",
            json!({ "oneOf": alternatives(40, 3) }),
            conjunction(20, 1),
        ),
        (
            "doubling references",
            doubling(json!({ "type": "string" })),
            doubling(json!({ "type": "integer" })),
        ),
        ("conditions", conditions("b"), conditions("c")),
        (
            "crossed alternatives",
            crossed("string"),
            crossed("integer"),
        ),
        ("doubling defaults", defaults("string"), defaults("integer")),
        ("values", values(0), values(1)),
        ("patterns", patterns("a"), patterns("c")),
        (
            "depth",
            nested(
                28,
                |inner| json!({ "not": { "items": inner } }),
                json!({ "type": "string" }),
            )
            .clone(),
            nested(
                60,
                |inner| json!({ "items": inner }),
                json!({ "type": "string" }),
            ),
        ),
        (
            "numbers",
            json!({ "minimum": 9_007_199_254_740_993_u64, "multipleOf": 0.1 }),
            json!({ "minimum": 9_007_199_254_740_992.0, "multipleOf": 1e-12 }),
        ),
    ]
}

/// Each ends with an answer in both directions, and within what a debug build does in the time that
/// the test runner gives one test.
#[test]
fn expensive_schemas_are_compared_within_bounds() {
    for (which, old, new) in expensive() {
        let compile = |schema: &Value| match Schema::compile(schema) {
            Ok(schema) => schema,
            Err(problem) => panic!("{which}: {problem}"),
        };
        let (old, new) = (compile(&old), compile(&new));
        for side in [Side::Input, Side::Output] {
            let found = broken_by_schema(side, &old, &new);
            assert!(found.len() <= 200, "{which}, {side:?}");
        }
    }
}

/// Names cannot write into somebody's terminal, and paths stay short.
#[test]
fn hostile_names_are_shown_safely() {
    let name = "\u{1b}[31m\u{202e}\n".repeat(50);
    let deep = |word: &str| {
        nested(
            40,
            |inner| json!({ "properties": { &name: inner } }),
            json!({ "type": word }),
        )
    };
    let old = Schema::compile(&deep("string")).unwrap();
    let new = Schema::compile(&deep("integer")).unwrap();
    let found = broken_by_schema(Side::Input, &old, &new);
    assert!(!found.is_empty());
    for breakage in found {
        let text = breakage.to_string();
        assert!(
            !text.chars().any(char::is_control) && text.chars().count() < 400,
            "{text}"
        );
    }
}
