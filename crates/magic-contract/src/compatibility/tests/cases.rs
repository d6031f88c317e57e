//! Pairs of schemas, each with what must be found. Every pair that breaks has a twin that does not.

use super::*;

mod both_dialects;
use both_dialects::in_both_dialects;

/// What must be found: fields, and words of what is said about each.
type Expected = &'static [(&'static str, &'static str)];
type Case = (Side, Value, Value, Expected);
type Bound = (&'static str, Value, Value, Expected, Expected);
type Text = (&'static str, &'static str, &'static str, Expected);

use Side::{Input, Output};

/// An object with one member.
fn with(name: &str, schema: Value) -> Value {
    json!({ "type": "object", "properties": { name: schema } })
}

fn changed(keyword: &str, old: Value, new: Value) -> (Value, Value) {
    let of = |value: Value| with("n", json!({ keyword: value }));
    (of(old), of(new))
}

/// A schema that refers to itself.
fn tree(value: &str) -> Value {
    json!({
        "type": "object",
        "properties": { "value": { "type": value }, "next": { "$ref": "#" } },
    })
}

/// Pairs of one dialect, or from one to the other.
fn in_one_dialect() -> Vec<Case> {
    let newer = "https://json-schema.org/draft/2020-12/schema";
    let pair = |old: Value, new: Value| {
        (
            json!({ "type": "array", "items": old, "additionalItems": false }),
            json!({ "$schema": newer, "type": "array", "prefixItems": new, "items": false }),
        )
    };
    let (same_old, same_new) = pair(json!([{ "type": "string" }]), json!([{ "type": "string" }]));
    let (old, new) = pair(
        json!([{ "type": "string" }]),
        json!([{ "type": "integer" }]),
    );
    vec![
        (Input, same_old.clone(), same_new.clone(), &[]),
        (Output, same_old, same_new, &[]),
        (
            Input,
            old,
            new,
            &[("[0]", "does not accept strings any more")],
        ),
        // Beside `$ref`, draft-07 ignores everything.
        (
            Input,
            json!({ "properties": { "a": { "$ref": "#/definitions/t", "maxLength": 1 } }, "definitions": { "t": { "type": "string" } } }),
            json!({ "properties": { "a": { "$ref": "#/definitions/t", "maxLength": 0 } }, "definitions": { "t": { "type": "string" } } }),
            &[],
        ),
        (
            Input,
            json!({ "$schema": newer, "properties": { "a": { "$ref": "#/$defs/t", "maxLength": 1 } }, "$defs": { "t": { "type": "string" } } }),
            json!({ "$schema": newer, "properties": { "a": { "$ref": "#/$defs/t", "maxLength": 0 } }, "$defs": { "t": { "type": "string" } } }),
            &[("a", "at most 0 characters")],
        ),
        // The same keyword in both, younger ones only in the newer.
        (
            Input,
            json!({ "$schema": newer, "type": "object", "dependentRequired": { "a": ["b"] } }),
            json!({ "type": "object", "dependencies": { "a": ["b"] } }),
            &[],
        ),
        (
            Input,
            json!({ "$schema": newer, "type": "object", "properties": { "a": {} } }),
            json!({ "$schema": newer, "type": "object", "properties": { "a": {} }, "unevaluatedProperties": false }),
            &[("", "unevaluatedProperties")],
        ),
        (
            Input,
            json!({ "$schema": newer, "type": "object", "properties": { "a": {} }, "unevaluatedProperties": false }),
            json!({ "$schema": newer, "type": "object", "properties": { "a": {} }, "unevaluatedProperties": false, "title": "same" }),
            &[],
        ),
        // draft-07 asserts what is held in a string, 2020-12 does not.
        (
            Input,
            json!({ "type": "string" }),
            json!({ "type": "string", "contentEncoding": "base64" }),
            &[("", "text that holds \"base64\"")],
        ),
        (
            Input,
            json!({ "$schema": newer, "type": "string" }),
            json!({ "$schema": newer, "type": "string", "contentEncoding": "base64" }),
            &[],
        ),
        // References that are no plain pointers.
        (
            Input,
            json!({ "$schema": newer, "$ref": "#t", "$defs": { "x": { "$anchor": "t", "type": "string" } } }),
            json!({ "type": "string" }),
            &[],
        ),
        (
            Input,
            json!({ "$schema": newer, "$ref": "#t", "$defs": { "x": { "$anchor": "t", "type": "string" } } }),
            json!({ "type": "integer" }),
            &[("", "does not accept strings any more")],
        ),
        // Beside a count, what defaults do cannot be said by a schema.
        (
            Input,
            json!({ "type": "object", "minProperties": 1, "properties": { "a": { "default": 1 } } }),
            json!({ "type": "object", "minProperties": 2, "properties": { "a": { "default": 1 } } }),
            &[("", "cannot be shown to be compatible")],
        ),
    ]
}

fn judge(side: Side, old: &Value, new: &Value) -> Vec<Breakage> {
    let any = json!({});
    let (old, new) = match side {
        Input => (contract("1.0.0", old, &any), contract("1.1.0", new, &any)),
        Output => (contract("1.0.0", &any, old), contract("1.1.0", &any, new)),
    };
    breakages(&old, &new)
}

fn fits(found: &[Breakage], expected: &[(&str, &str)]) -> bool {
    let is_found = |(field, change): &(&str, &str)| {
        found
            .iter()
            .any(|one| one.field == *field && one.change.contains(change))
    };
    found.is_empty() == expected.is_empty() && expected.iter().all(is_found)
}

/// Every pair is judged as written, in both dialects where it means the same in both.
#[test]
fn pairs_of_schemas() {
    let newer = "https://json-schema.org/draft/2020-12/schema";
    let mut all = in_one_dialect();
    for (side, old, new, expected) in in_both_dialects() {
        let (mut later_old, mut later_new) = (old.clone(), new.clone());
        for schema in [&mut later_old, &mut later_new] {
            if let Some(keywords) = schema.as_object_mut() {
                keywords.insert("$schema".to_owned(), json!(newer));
            }
        }
        all.push((side, old, new, expected));
        all.push((side, later_old, later_new, expected));
    }
    let wrong: Vec<String> = all
        .iter()
        .filter_map(|(side, old, new, expected)| {
            let found = judge(*side, old, new);
            (!fits(&found, expected)).then(|| {
                let found: Vec<String> = found
                    .iter()
                    .map(|one| format!("{:?}: {}", one.field, one.change))
                    .collect();
                format!(
                    "{side:?}\n  old {old}\n  new {new}\n  expected {expected:?}\n  found {found:?}"
                )
            })
        })
        .collect();
    assert!(all.len() >= 120, "{}", all.len());
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        all.len(),
        wrong.join("\n")
    );
}
