//! Schemas that are embedded, against what they mean alone.

use serde_json::{Value, json};

use super::embed;
use crate::schema::{Dialect, Schema};

/// The place in a document, and the document with a schema at it.
const PLACE: &str = "#/$defs/Echo.input";

/// Embeds, and judges every value by the schema at both places.
fn agrees(schema: &Value, dialect: Dialect, values: &[Value]) -> Value {
    let embedded = embed(schema, dialect, PLACE).expect("it can be embedded");
    let document = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$defs": {"Echo.input": embedded},
        "$ref": PLACE,
    });
    let moved = Schema::compile(&document).expect("the document is a schema");
    let written = Schema::compile(schema).expect("a schema");
    for value in values {
        assert_eq!(
            moved.admit(value.clone()).is_ok(),
            written.admit(value.clone()).is_ok(),
            "{value} under {schema}"
        );
    }
    document["$defs"]["Echo.input"].clone()
}

/// What draft-07 says in other words means the same afterwards.
#[test]
fn draft_07_is_translated() {
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "https://example.com/echo.json",
        "type": "object",
        "definitions": {
            "a/b": {"type": "integer"},
            "pair": {"items": [{"type": "string"}, {"type": "integer"}], "additionalItems": false},
            "named": {"$id": "#named", "type": "boolean"},
        },
        "properties": {
            "number": {"$ref": "#/definitions/a~1b", "maximum": 3},
            "pair": {"$ref": "#/definitions/pair"},
            "second": {"$ref": "#/definitions/pair/items/1"},
            "flag": {"$ref": "#named"},
            "self": {"$ref": "#"},
            "items": {"type": "array", "items": {"type": "string"}, "additionalItems": false},
            "$ref": {"type": "string"},
            "free": {"const": {"$ref": "#/nowhere", "items": [1]}},
        },
        "dependencies": {"number": ["flag"], "second": {"required": ["pair"]}},
    });
    let values = [
        json!({}),
        json!({"number": 5}),
        json!({"number": 5, "flag": true}),
        json!({"number": "5", "flag": true}),
        json!({"pair": ["a", 1]}),
        json!({"pair": ["a", 1, 2]}),
        json!({"pair": [1, "a"]}),
        json!({"second": 1}),
        json!({"second": 1, "pair": ["a"]}),
        json!({"second": "a", "pair": ["a"]}),
        json!({"flag": 1}),
        json!({"self": {"flag": 1}}),
        json!({"self": {"self": {}}}),
        json!({"items": ["a"]}),
        json!({"items": [1]}),
        json!({"$ref": 1}),
        json!({"$ref": "a"}),
        json!({"free": {"$ref": "#/nowhere", "items": [1]}}),
        json!({"free": 1}),
    ];
    let embedded = agrees(&schema, Dialect::Draft07, &values);
    assert_eq!(embedded.get("$id"), None);
    assert_eq!(embedded.get("$schema"), None);
}

/// 2020-12 stays as it is, but for where its references begin.
#[test]
fn newer_schemas_stay() {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "prefixItems": [{"$ref": "#/$defs/id"}, {"$ref": "#word", "maxLength": 2}],
        "items": false,
        "$defs": {"id": {"type": "integer"}, "word": {"$anchor": "word", "type": "string"}},
    });
    let values = [
        json!([]),
        json!([1, "a"]),
        json!([1, "abc"]),
        json!(["a"]),
        json!([1, "a", 2]),
    ];
    agrees(&schema, Dialect::Draft202012, &values);
    agrees(&json!(true), Dialect::Draft202012, &[]);
}

/// What needs an identifier of its own is not embedded, rather than embedded wrongly.
#[test]
fn what_cannot_be_moved_is_not() {
    for (schema, dialect) in [
        (
            json!({"properties": {"a": {"$id": "other.json"}}}),
            Dialect::Draft07,
        ),
        (
            json!({"$ref": "http://json-schema.org/draft-07/schema#"}),
            Dialect::Draft07,
        ),
        (
            json!({"$ref": "#/properties/a", "properties": {"a": {}}}),
            Dialect::Draft07,
        ),
        (
            json!({"$dynamicAnchor": "a", "items": {"$dynamicRef": "#a"}}),
            Dialect::Draft202012,
        ),
    ] {
        assert_eq!(embed(&schema, dialect, PLACE), None, "{schema}");
    }
}
