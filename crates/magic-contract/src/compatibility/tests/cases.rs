//! Pairs of schemas, each with what must be found. Every pair that breaks has a twin that does not.

use super::*;

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

/// Pairs that mean the same in both dialects.
fn in_both_dialects() -> Vec<Case> {
    let open = || with("a", json!({ "type": "string" }));
    let required = || json!({ "type": "object", "properties": { "a": { "type": "string" } }, "required": ["a"] });
    let closed = || json!({ "type": "object", "properties": { "a": { "type": "string" } }, "additionalProperties": false });
    let mut cases: Vec<Case> = vec![
        // Required fields.
        (Input, open(), required(), &[("a", "is required now")]),
        (Output, open(), required(), &[]),
        (Input, required(), open(), &[]),
        (
            Output,
            required(),
            open(),
            &[("a", "is not always there any more")],
        ),
        (
            Input,
            open(),
            json!({ "type": "object", "properties": { "a": { "type": "string", "default": "x" } }, "required": ["a"] }),
            &[],
        ),
        (
            Input,
            open(),
            json!({ "type": "object", "properties": { "a": { "type": "string", "default": 5 } }, "required": ["a"] }),
            &[("a", "is required now")],
        ),
        (
            Output,
            required(),
            json!({ "type": "object", "properties": { "a": { "type": "string", "default": "x" } } }),
            &[],
        ),
        (
            Output,
            json!({ "type": "object", "properties": { "a": { "type": "string", "default": "x" } } }),
            open(),
            &[("a", "is not always there any more")],
        ),
        (
            Input,
            json!({ "type": "object", "properties": { "a": { "type": "string", "default": "x" } }, "required": ["a"] }),
            required(),
            &[("a", "is required now")],
        ),
        (
            Input,
            json!({ "type": "object", "properties": { "a": { "type": "string", "default": "x" } }, "required": ["a"] }),
            json!({ "type": "object", "properties": { "a": { "type": "string", "default": "y" } }, "required": ["a"] }),
            &[],
        ),
        // A default below a reference, and one that only a branch gives, which is not filled in.
        (
            Input,
            open(),
            json!({ "type": "object", "properties": { "a": { "$ref": "#/definitions/t" } }, "required": ["a"], "definitions": { "t": { "type": "string", "default": "x" } } }),
            &[],
        ),
        (
            Input,
            open(),
            json!({ "type": "object", "properties": { "a": { "type": "string" } }, "anyOf": [{ "properties": { "a": { "default": "x" } } }], "required": ["a"] }),
            &[("a", "is required now")],
        ),
        (
            Input,
            with("c", json!({ "type": "object" })),
            with(
                "c",
                json!({ "type": "object", "required": ["id"], "properties": { "id": { "type": "string", "default": "x" } } }),
            ),
            &[("c.id", "does not accept")],
        ),
        // New and removed fields.
        (
            Input,
            open(),
            json!({ "type": "object", "properties": { "a": { "type": "string" }, "b": { "type": "integer" } } }),
            &[],
        ),
        (
            Input,
            json!({ "type": "object" }),
            with("b", json!({ "type": "integer" })),
            &[("b", "does not accept strings any more")],
        ),
        (
            Input,
            json!({ "type": "object", "properties": { "a": {} }, "additionalProperties": true }),
            json!({ "type": "object", "properties": { "a": {}, "b": { "type": "integer" } } }),
            &[("b", "does not accept strings any more")],
        ),
        (
            Input,
            closed(),
            json!({ "type": "object", "properties": { "a": { "type": "string" }, "b": { "type": "integer" } }, "additionalProperties": false }),
            &[],
        ),
        (
            Output,
            closed(),
            json!({ "type": "object", "properties": { "a": { "type": "string" }, "b": { "type": "integer" } }, "additionalProperties": false }),
            &[("b", "is a new field")],
        ),
        (
            Output,
            open(),
            json!({ "type": "object", "properties": { "a": { "type": "string" }, "b": { "type": "integer" } } }),
            &[],
        ),
        (
            Output,
            json!({ "type": "object", "properties": { "a": { "type": "string" }, "b": { "type": "integer" } } }),
            open(),
            &[("b", "is not described any more")],
        ),
        (
            Input,
            json!({ "type": "object", "properties": { "a": { "type": "string" }, "b": { "type": "integer" } } }),
            open(),
            &[],
        ),
        (
            Input,
            json!({ "type": "object", "properties": { "a": { "type": "string" }, "b": { "type": "integer" } } }),
            closed(),
            &[
                ("b", "is not accepted any more"),
                ("", "fields that it does not name"),
            ],
        ),
        (
            Input,
            open(),
            closed(),
            &[("", "does not accept fields that it does not name any more")],
        ),
        (Output, open(), closed(), &[]),
        (Input, closed(), open(), &[]),
        (
            Output,
            closed(),
            open(),
            &[("", "can have fields that it does not name now")],
        ),
        (
            Input,
            open(),
            with("a", json!(false)),
            &[("a", "is not accepted any more")],
        ),
        (
            Input,
            json!({ "type": "object", "additionalProperties": { "type": "number" } }),
            json!({ "type": "object", "additionalProperties": { "type": "integer" } }),
            &[("*", "does not accept numbers with a fraction")],
        ),
        (
            Input,
            json!({ "type": "object", "additionalProperties": { "type": "integer" } }),
            json!({ "type": "object", "additionalProperties": { "type": "number" } }),
            &[],
        ),
        (
            Input,
            json!({ "type": "object", "patternProperties": { "^x-": { "type": "string" } } }),
            json!({ "type": "object", "patternProperties": { "^x-": { "type": "integer" } } }),
            &[("", "by pattern")],
        ),
        (
            Input,
            json!({ "type": "object", "patternProperties": { "^x-": { "type": "string" } }, "required": ["a"] }),
            json!({ "type": "object", "patternProperties": { "^x-": { "type": "string" } } }),
            &[],
        ),
        // A field that was asked for without being described was meant all the same.
        (
            Input,
            json!({ "type": "object", "properties": { "a": {} }, "required": ["b"] }),
            json!({ "type": "object", "properties": { "a": {}, "b": { "type": "integer" } }, "required": ["b"] }),
            &[("b", "does not accept strings any more")],
        ),
        // Depth, lists and references.
        (
            Input,
            with("customer", with("id", json!({ "type": "string" }))),
            with("customer", with("id", json!({ "type": "integer" }))),
            &[("customer.id", "does not accept strings any more")],
        ),
        (
            Output,
            with("customer", with("id", json!({ "type": "string" }))),
            with(
                "customer",
                with("id", json!({ "type": ["string", "null"] })),
            ),
            &[("customer.id", "can be null now")],
        ),
        (
            Input,
            with(
                "lines",
                json!({ "type": "array", "items": with("price", json!({ "type": "number" })) }),
            ),
            with(
                "lines",
                json!({ "type": "array", "items": with("price", json!({ "type": "number", "minimum": 0 })) }),
            ),
            &[("lines[].price", "must be at least 0 now")],
        ),
        (
            Input,
            with(
                "lines",
                json!({ "type": "array", "items": with("price", json!({ "type": "number", "minimum": 0 })) }),
            ),
            with(
                "lines",
                json!({ "type": "array", "items": with("price", json!({ "type": "number" })) }),
            ),
            &[],
        ),
        (
            Input,
            json!({ "type": "object", "properties": { "a": { "$ref": "#/definitions/t" } }, "definitions": { "t": { "type": "string" } } }),
            json!({ "type": "object", "properties": { "a": { "$ref": "#/definitions/t" } }, "definitions": { "t": { "type": "string", "maxLength": 9 } } }),
            &[("a", "at most 9 characters")],
        ),
        (
            Input,
            with("a.b", json!({ "type": "string" })),
            with("a.b", json!({ "type": "integer" })),
            &[("[\"a.b\"]", "does not accept strings")],
        ),
        // Types.
        (
            Input,
            json!({ "type": "string" }),
            json!({ "type": ["string", "null"] }),
            &[],
        ),
        (
            Output,
            json!({ "type": "string" }),
            json!({ "type": ["string", "null"] }),
            &[("", "can be null now")],
        ),
        (
            Input,
            json!({ "type": ["string", "null"] }),
            json!({ "type": "string" }),
            &[("", "does not accept null any more")],
        ),
        (
            Input,
            json!({}),
            json!({ "type": "object" }),
            &[("", "does not accept")],
        ),
        (Input, json!({ "type": "object" }), json!({}), &[]),
        (
            Output,
            json!({ "type": "object" }),
            json!(true),
            &[("", "can be a string now")],
        ),
        (
            Input,
            json!({ "type": "object" }),
            json!(false),
            &[("", "is not accepted any more")],
        ),
        (
            Input,
            json!({ "anyOf": [{ "type": "string" }, { "type": "null" }] }),
            json!({ "type": ["string", "null"] }),
            &[],
        ),
        (
            Input,
            json!({ "type": ["string", "null"] }),
            json!({ "anyOf": [{ "type": "string" }, { "type": "null" }] }),
            &[],
        ),
        (
            Input,
            json!({ "type": ["string", "null"] }),
            json!({ "oneOf": [{ "type": "string" }, { "type": "null" }] }),
            &[],
        ),
        (
            Input,
            json!({ "anyOf": [{ "type": "string" }, { "type": "null" }] }),
            json!({ "anyOf": [{ "type": "string" }] }),
            &[("", "anyOf")],
        ),
        (
            Input,
            with("a", json!({ "anyOf": [{ "type": "string" }] })),
            with(
                "a",
                json!({ "anyOf": [{ "type": "string" }, { "type": "integer" }] }),
            ),
            &[],
        ),
        (
            Output,
            with("a", json!({ "anyOf": [{ "type": "string" }] })),
            with(
                "a",
                json!({ "anyOf": [{ "type": "string" }, { "type": "integer" }] }),
            ),
            &[("a", "")],
        ),
        (
            Input,
            with(
                "a",
                json!({ "allOf": [{ "type": "string" }, { "maxLength": 5 }] }),
            ),
            with("a", json!({ "type": "string", "maxLength": 5 })),
            &[],
        ),
        (
            Input,
            with("a", json!({ "type": "string", "maxLength": 5 })),
            with(
                "a",
                json!({ "allOf": [{ "type": "string" }, { "maxLength": 4 }] }),
            ),
            &[("a", "at most 4 characters")],
        ),
        // Values.
        (
            Input,
            with("a", json!({ "enum": ["x", "y"] })),
            with("a", json!({ "enum": ["x"] })),
            &[("a", "does not accept \"y\" any more")],
        ),
        (
            Output,
            with("a", json!({ "enum": ["x"] })),
            with("a", json!({ "enum": ["x", "y"] })),
            &[("a", "can be \"y\" now")],
        ),
        (
            Input,
            with("a", json!({ "enum": ["x"] })),
            with("a", json!({ "enum": ["y", "x"] })),
            &[],
        ),
        (
            Input,
            with("a", json!({ "const": "x" })),
            with("a", json!({ "const": "y" })),
            &[("a", "does not accept \"x\" any more")],
        ),
        (
            Input,
            with("a", json!({ "const": "x" })),
            with("a", json!({ "enum": ["x", "y"] })),
            &[],
        ),
        (
            Input,
            with("a", json!({ "const": 1 })),
            with("a", json!({ "const": 1.0 })),
            &[],
        ),
        (
            Input,
            with("a", json!({ "type": "string" })),
            with("a", json!({ "type": "string", "enum": ["x"] })),
            &[("a", "must be one of the listed values now")],
        ),
        (
            Input,
            with("a", json!({ "type": "boolean" })),
            with("a", json!({ "enum": [true, false] })),
            &[],
        ),
        (
            Input,
            with("a", json!({ "enum": ["x", "yy"] })),
            with("a", json!({ "type": "string", "maxLength": 2 })),
            &[],
        ),
        // Choices.
        (
            Input,
            json!({ "if": { "required": ["a"] }, "then": { "required": ["b"] } }),
            json!({ "if": { "required": ["a"] }, "then": { "required": ["c"] } }),
            &[("", "")],
        ),
        (
            Input,
            json!({ "if": { "required": ["a"] }, "then": { "required": ["b"] }, "required": ["z"] }),
            json!({ "if": { "required": ["a"] }, "then": { "required": ["b"] } }),
            &[],
        ),
        (
            Input,
            json!({ "type": "object" }),
            json!({ "type": "object", "not": { "required": ["a"] } }),
            &[("", "not")],
        ),
        (
            Input,
            json!({ "type": "object", "not": { "required": ["a"] } }),
            json!({ "type": "object" }),
            &[],
        ),
        (
            Input,
            json!({ "type": "object", "dependencies": { "a": ["b"] } }),
            json!({ "type": "object", "dependencies": { "a": ["b", "c"] } }),
            &[("", "dependentRequired")],
        ),
        (
            Input,
            json!({ "type": "object", "dependencies": { "a": ["b"] } }),
            json!({ "type": "object" }),
            &[],
        ),
        (
            Input,
            with("a", json!({ "type": "array" })),
            with(
                "a",
                json!({ "type": "array", "contains": { "type": "string" } }),
            ),
            &[("a", "contains")],
        ),
        (
            Input,
            with(
                "a",
                json!({ "type": "array", "contains": { "type": "string" } }),
            ),
            with("a", json!({ "type": "array" })),
            &[],
        ),
        (
            Input,
            json!({ "type": "object", "propertyNames": { "maxLength": 4 } }),
            json!({ "type": "object", "propertyNames": { "maxLength": 3 } }),
            &[("", "propertyNames")],
        ),
        // Only words changed.
        (
            Input,
            with("a", json!({ "type": "string", "title": "A" })),
            with(
                "a",
                json!({ "type": "string", "description": "the a", "examples": ["x"] }),
            ),
            &[],
        ),
        (
            Output,
            with("a", json!({ "type": "string", "format": "password" })),
            with("a", json!({ "type": "string" })),
            &[],
        ),
        // Recursion.
        (Input, tree("string"), tree("string"), &[]),
        (
            Input,
            tree("string"),
            tree("integer"),
            &[("value", "does not accept strings any more")],
        ),
        (Input, tree("integer"), tree("number"), &[]),
    ];
    // Bounds, each tightened and loosened: what breaks an input is fine for an output.
    let bounds: [Bound; 12] = [
        (
            "minimum",
            json!(1),
            json!(2),
            &[("n", "must be at least 2 now")],
            &[("n", "is not always at least 2 any more")],
        ),
        (
            "maximum",
            json!(2.5),
            json!(2),
            &[("n", "must be at most 2 now")],
            &[("n", "is not always at most 2 any more")],
        ),
        (
            "exclusiveMinimum",
            json!(1),
            json!(2),
            &[("n", "must be more than 2 now")],
            &[("n", "is not always more than 2")],
        ),
        (
            "exclusiveMaximum",
            json!(2),
            json!(1),
            &[("n", "must be less than 1 now")],
            &[("n", "is not always less than 1")],
        ),
        (
            "multipleOf",
            json!(2),
            json!(4),
            &[("n", "must be a multiple of 4 now")],
            &[("n", "is not always a multiple of 4")],
        ),
        (
            "minLength",
            json!(1),
            json!(2),
            &[("n", "at least 2 characters")],
            &[("n", "at least 2 characters")],
        ),
        (
            "maxLength",
            json!(9),
            json!(8),
            &[("n", "at most 8 characters")],
            &[("n", "at most 8 characters")],
        ),
        (
            "minItems",
            json!(1),
            json!(2.0),
            &[("n", "at least 2.0 items")],
            &[("n", "at least 2.0 items")],
        ),
        (
            "maxItems",
            json!(9),
            json!(8),
            &[("n", "at most 8 items")],
            &[("n", "at most 8 items")],
        ),
        (
            "minProperties",
            json!(1),
            json!(2),
            &[("n", "at least 2 fields")],
            &[("n", "at least 2 fields")],
        ),
        (
            "maxProperties",
            json!(9),
            json!(8),
            &[("n", "at most 8 fields")],
            &[("n", "at most 8 fields")],
        ),
        (
            "uniqueItems",
            json!(false),
            json!(true),
            &[("n", "without repeated items")],
            &[("n", "without repeated items")],
        ),
    ];
    for (keyword, loose, tight, input, output) in bounds {
        let (old, new) = changed(keyword, loose, tight);
        cases.push((Input, old.clone(), new.clone(), input));
        cases.push((Output, old.clone(), new.clone(), &[]));
        cases.push((Input, new.clone(), old.clone(), &[]));
        cases.push((Output, new, old, output));
    }
    let texts: [Text; 2] = [
        ("pattern", "^a", "^b", &[("n", "of the pattern \"^b\"")]),
        ("format", "date", "uuid", &[("n", "of the format \"uuid\"")]),
    ];
    for (keyword, old, new, expected) in texts {
        let (one, other) = changed(keyword, json!(old), json!(new));
        let none = with("n", json!({}));
        cases.push((Input, one.clone(), other.clone(), expected));
        cases.push((Input, none.clone(), other, expected));
        cases.push((Input, one.clone(), none, &[]));
        cases.push((
            Input,
            one,
            with("n", json!({ keyword: old, "title": "same" })),
            &[],
        ));
    }
    cases
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
