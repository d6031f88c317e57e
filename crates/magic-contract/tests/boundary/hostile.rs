//! Text from strangers: whatever it is, the answer is a value or an error, soon.

use magic_contract::{Contract, ErrorCode, JsonLimits, Policy, Schema, read_json};
use proptest::prelude::*;
use serde_json::{Value, json};

fn code_of(schema: &Value) -> Option<ErrorCode> {
    Schema::compile(schema).err().map(|problem| problem.code)
}

/// Schemas that would cost too much are refused when they are compiled.
#[test]
fn explosive_schemas_are_refused() {
    let many: Vec<Value> = (0..10_000)
        .map(|number| json!({ "const": number }))
        .collect();
    let long = format!("({}){{1000}}", "[a-zA-Z0-9]{1000}");
    let mut deep = json!({});
    for _ in 0..90 {
        deep = json!({ "properties": { "a": deep } });
    }
    for schema in [
        json!({ "$ref": "#" }),
        json!({ "allOf": [{ "$ref": "#/definitions/a" }], "definitions": { "a": { "$ref": "#/definitions/b" }, "b": { "$ref": "#/definitions/a" } } }),
        json!({ "$ref": "http://127.0.0.1:9/schema.json" }),
        json!({ "$ref": "file:///etc/passwd" }),
        json!({ "anyOf": many }),
        json!({ "pattern": "(?<=a)b" }),
        json!({ "pattern": "(a)\\1" }),
        json!({ "pattern": long }),
        json!({ "patternProperties": { "(?!a)": {} } }),
        json!({ "multipleOf": 1e-300 }),
        json!({ "maxLength": 18_446_744_073_709_551_616.0 }),
        json!({ "minItems": 1e300 }),
        json!({ "format": "no-such-format" }),
        json!({ "$schema": "https://json-schema.org/draft/2019-09/schema" }),
        json!({ "properties": { "a": { "$schema": "https://json-schema.org/draft/2020-12/schema" } } }),
        deep,
    ] {
        let shown: String = schema.to_string().chars().take(90).collect();
        assert_eq!(
            code_of(&schema),
            Some(ErrorCode::UnsupportedSchema),
            "{shown}"
        );
    }
    assert_eq!(
        code_of(&json!({ "$ref": "#/definitions/none" })),
        Some(ErrorCode::InvalidContract)
    );
    assert_eq!(
        code_of(&json!({ "type": "strng" })),
        Some(ErrorCode::InvalidContract)
    );
    assert_eq!(code_of(&json!(7)), Some(ErrorCode::InvalidContract));
}

/// What looks explosive and is harmless here is taken, and stays fast.
#[test]
fn linear_patterns_and_recursion_are_taken() {
    let pattern = Schema::compile(&json!({ "type": "string", "pattern": "^(a+)+$" })).unwrap();
    assert!(pattern.admit(json!("a".repeat(100_000))).is_ok());
    assert!(
        pattern
            .admit(json!(format!("{}!", "a".repeat(100_000))))
            .is_err()
    );
    let mut levels = json!({});
    for level in 0..40 {
        let next = format!("#/definitions/a{}", level + 1);
        levels[format!("a{level}")] =
            json!({ "properties": { "x": { "allOf": [{ "$ref": next }, { "$ref": next }] } } });
    }
    levels["a40"] = json!({ "type": "string" });
    let bomb =
        Schema::compile(&json!({ "$ref": "#/definitions/a0", "definitions": levels })).unwrap();
    let mut value = json!(7);
    for _ in 0..40 {
        value = json!({ "x": value });
    }
    let violations = bomb.admit(value).unwrap_err();
    assert_eq!(violations[0].constraint, "schema");
}

/// A grammar whose branches overlap at every level, and a value as deep as bodies may be.
#[test]
fn branching_recursion_is_bounded() {
    let branch = |name: &str| json!({ "type": "object", "type": "object", "properties": { "op": { "const": name }, "left": { "$ref": "#" }, "right": { "$ref": "#" } }, "required": ["op", "left"] });
    let schema = Schema::compile(
        &json!({ "anyOf": [{ "type": "number" }, branch("add"), branch("mul"), branch("sub")] }),
    )
    .unwrap();
    let nested = |leaf: Value, depth: usize| {
        (0..depth).fold(leaf, |value, _| json!({ "op": "sub", "left": value }))
    };
    assert!(schema.admit(nested(json!(1), 99)).is_ok());
    assert!(schema.admit(nested(json!("x"), 99)).is_err());
    let violations = schema.admit(nested(json!("x"), 2)).unwrap_err();
    assert_eq!(violations[0].constraint, "anyOf");
}

/// Long chains of subschemas at every level of a deep value fit into the stack, on either side of
/// the border between an ordinary thread and one with more stack; refused values too.
#[test]
fn long_chains_fit_into_the_stack() {
    for (links, depth) in [(60, 99), (60, 2), (19, 9), (5, 30), (1, 99)] {
        let mut definitions = json!({});
        for link in 0..links {
            let next = format!("#/definitions/c{}", link + 1);
            definitions[format!("c{link}")] = json!({ "anyOf": [{ "$ref": next }] });
        }
        definitions[format!("c{links}")] =
            json!({ "type": "array", "items": { "$ref": "#/definitions/c0" } });
        let schema = json!({ "$ref": "#/definitions/c0", "definitions": definitions });
        let schema = Schema::compile(&schema).unwrap();
        let nested = |leaf: Value| (0..depth).fold(leaf, |value, _| json!([value]));
        assert!(schema.admit(nested(json!([]))).is_ok(), "{links} {depth}");
        assert!(schema.admit(nested(json!("x"))).is_err(), "{links} {depth}");
    }
}

/// Defaults are filled in everywhere they certainly apply, and never without end.
#[test]
fn defaults_are_filled_in() {
    let schema = Schema::compile(&json!({
        "type": "object",
        "required": ["currency", "address", "lines"],
        "properties": {
            "currency": { "default": "EUR", "type": "string" },
            "address": { "default": {}, "properties": { "country": { "default": "DE" } } },
            "lines": { "default": [], "items": { "$ref": "#/definitions/line" } },
        },
        "additionalProperties": { "properties": { "seen": { "default": false } } },
        "definitions": { "line": { "allOf": [{ "properties": { "count": { "default": 1 } } }] } },
    }))
    .unwrap();
    let admit = |value| schema.admit(value).unwrap().into_value();
    assert_eq!(
        admit(json!({})),
        json!({ "currency": "EUR", "address": { "country": "DE" }, "lines": [] })
    );
    assert_eq!(
        admit(
            json!({ "currency": "USD", "address": { "country": "FR" }, "lines": [{}, { "count": 2 }], "more": {} })
        ),
        json!({ "currency": "USD", "address": { "country": "FR" }, "lines": [{ "count": 1 }, { "count": 2 }], "more": { "seen": false } })
    );
    let endless =
        Schema::compile(&json!({ "default": {}, "properties": { "a": { "$ref": "#" } } })).unwrap();
    assert_eq!(
        endless.admit(json!({})).unwrap_err()[0].constraint,
        "default"
    );
    let large = Schema::compile(
        &json!({ "items": { "properties": { "a": { "default": "x".repeat(100_000) } } } }),
    )
    .unwrap();
    assert_eq!(
        large
            .admit(Value::Array(vec![json!({}); 1000]))
            .unwrap_err()[0]
            .constraint,
        "default"
    );
}

/// Secrets are masked, long values are cut, places are exact.
#[test]
fn violations_are_safe_to_show() {
    let schema = Schema::compile(&json!({
        "type": "object",
        "required": ["id"],
        "additionalProperties": false,
        "properties": {
            "id": { "type": "string", "format": "uuid" },
            "token": { "type": "string", "maxLength": 3, "writeOnly": true },
            "login": { "properties": { "password": { "type": "string", "format": "password", "minLength": 20 } } },
            "a/b": { "type": "integer" },
            "list": { "items": { "enum": ["x", "y"] } },
        },
    }))
    .unwrap();
    let violations = schema
        .admit(json!({ "token": "hunter2", "login": { "password": "letmein" }, "a/b": "z".repeat(1_000_000), "list": ["x", "\u{1b}[31m"], "extra": "hush" }))
        .unwrap_err();
    let shown = serde_json::to_string(&violations).unwrap();
    for secret in ["hunter2", "letmein", "hush", "\u{1b}"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.len() < 4_000, "{}", shown.len());
    let mut found: Vec<(&str, &str, &str)> = violations
        .iter()
        .map(|one| {
            (
                one.field.as_str(),
                one.constraint.as_str(),
                one.expected.as_str(),
            )
        })
        .collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [
            (
                "",
                "additionalProperties",
                "only the properties that the schema names"
            ),
            ("/a~1b", "type", "integer"),
            ("/id", "required", "the property \"id\""),
            ("/list/1", "enum", "one of \"x\", \"y\""),
            ("/login/password", "minLength", "at least 20 characters"),
            ("/token", "maxLength", "at most 3 characters"),
        ]
    );
    let many = Schema::compile(&json!({ "items": { "type": "string" } })).unwrap();
    assert_eq!(
        many.admit(Value::Array(vec![json!(1); 100_000]))
            .unwrap_err()
            .len(),
        20
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let keywords = prop::sample::select(vec![
        "type",
        "properties",
        "items",
        "$ref",
        "allOf",
        "anyOf",
        "not",
        "pattern",
        "format",
        "default",
        "enum",
        "const",
        "required",
        "additionalProperties",
        "$id",
        "definitions",
        "multipleOf",
        "maxLength",
        "patternProperties",
        "a",
    ]);
    let words = prop::sample::select(vec![
        "string",
        "object",
        "#",
        "#/definitions/a",
        "uuid",
        "a+",
        "[",
        "(?=x)",
        "http://x/y",
        "",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        words.prop_map(Value::from),
        ".{0,10}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((keywords.clone(), inner), 0..6).prop_map(|members| {
                Value::Object(
                    members
                        .into_iter()
                        .map(|(key, value)| (key.to_owned(), value))
                        .collect(),
                )
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any bytes: no panic, and every refusal has at least one problem with a place.
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Err(problems) = Contract::parse(&bytes, "x.yaml") {
            prop_assert!(!problems.is_empty());
            prop_assert!(problems.iter().all(|one| one.line >= 1 && one.column >= 1));
            let _ = problems.render(magic_contract::Color::Always);
        }
        let _ = Policy::parse(&bytes, "x.yaml");
        let _ = read_json(&bytes, JsonLimits::default());
    }

    /// Text that is nearly a contract.
    #[test]
    fn any_near_contract_is_survived(text in "(name|version|input|output|capabilities|resources|[a-z]{1,5})?:? ?[\\[\\]{}:,\\-\"'&*!|>%@ \n\tA-Za-z0-9äß€.]{0,120}") {
        if let Err(problems) = Contract::parse(text.as_bytes(), "x.yaml") {
            prop_assert!(!problems.is_empty());
            let _ = problems.render(magic_contract::Color::Never);
        }
    }

    /// Any schema compiles or is refused, and judges any value without a panic.
    #[test]
    fn any_schema_is_survived(schema in any_json(), value in any_json()) {
        if let Ok(schema) = Schema::compile(&schema)
            && let Err(violations) = schema.admit(value)
        {
            prop_assert!(!violations.is_empty());
        }
    }
}
