//! Pairs that mean the same in both dialects.

use super::*;

/// Pairs that mean the same in both dialects.
pub(super) fn in_both_dialects() -> Vec<Case> {
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
