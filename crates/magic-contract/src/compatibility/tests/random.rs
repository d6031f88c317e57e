//! What is promised, tried on random pairs: without a breakage, no value tells the versions apart.

use proptest::prelude::*;
use serde_json::Map;

use super::*;
use crate::schema::{Schema, ValidValue};

/// Names of members differ from level to level, so that a name tells which object it belongs to.
fn name(level: usize) -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c"]).prop_map(move |name| format!("{name}{level}"))
}

fn scalar() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(2),
        json!(1.0),
        json!(1.5),
        json!(-3),
        json!("x"),
        json!(""),
        json!("xyz"),
        json!("2026-11-24"),
    ])
}

fn value(level: usize) -> BoxedStrategy<Value> {
    if level == 3 {
        return scalar().boxed();
    }
    prop_oneof![
        2 => scalar(),
        1 => prop::collection::vec(value(level + 1), 0..3).prop_map(Value::Array),
        4 => prop::collection::vec((name(level), value(level + 1)), 0..4)
            .prop_map(|members| Value::Object(members.into_iter().collect())),
    ]
    .boxed()
}

fn word() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "string", "number", "integer", "boolean", "object", "array", "null",
    ])
}

/// One keyword with its value.
fn keyword(level: usize) -> BoxedStrategy<(&'static str, Value)> {
    let count = || 0u64..4;
    let simple = prop_oneof![
        word().prop_map(|word| ("type", json!(word))),
        prop::collection::btree_set(word(), 1..4).prop_map(|words| ("type", json!(words))),
        prop::collection::vec(scalar(), 1..4).prop_map(|values| ("enum", json!(values))),
        scalar().prop_map(|value| ("const", value)),
        (
            prop::sample::select(vec![
                "minimum",
                "maximum",
                "exclusiveMinimum",
                "exclusiveMaximum"
            ]),
            -3i64..3
        )
            .prop_map(|(word, bound)| (word, json!(bound))),
        (1u64..4).prop_map(|divisor| ("multipleOf", json!(divisor))),
        (
            prop::sample::select(vec![
                "minLength",
                "maxLength",
                "minItems",
                "maxItems",
                "minProperties",
                "maxProperties"
            ]),
            count()
        )
            .prop_map(|(word, count)| (word, json!(count))),
        prop::sample::select(vec!["^x", "z$", "^[a-z]*$"])
            .prop_map(|pattern| ("pattern", json!(pattern))),
        prop::sample::select(vec!["date", "uuid"]).prop_map(|format| ("format", json!(format))),
        any::<bool>().prop_map(|flag| ("uniqueItems", json!(flag))),
        prop::collection::btree_set(name(level), 0..3).prop_map(|names| ("required", json!(names))),
        scalar().prop_map(|value| ("default", value)),
    ];
    if level == 3 {
        return simple.boxed();
    }
    let inner = move || schema(level + 1);
    prop_oneof![
        4 => simple,
        5 => prop::collection::btree_map(name(level), inner(), 1..3)
            .prop_map(|members| ("properties", json!(members))),
        2 => prop_oneof![Just(json!(false)), Just(json!(true)), inner()]
            .prop_map(|schema| ("additionalProperties", schema)),
        2 => inner().prop_map(|schema| ("items", schema)),
        1 => inner().prop_map(|schema| ("contains", schema)),
        1 => prop::collection::btree_map(prop::sample::select(vec!["^a", "1$"]), inner(), 1..2)
            .prop_map(|members| ("patternProperties", json!(members))),
        1 => prop::sample::select(vec!["^a", "1$"])
            .prop_map(|pattern| ("propertyNames", json!({ "pattern": pattern }))),
        1 => (name(level), prop::collection::btree_set(name(level), 1..2))
            .prop_map(|(name, names)| ("dependencies", json!({ name: names }))),
        1 => (
            prop::sample::select(vec!["allOf", "anyOf", "oneOf"]),
            prop::collection::vec(branch(level), 1..3)
        )
            .prop_map(|(word, list)| (word, json!(list))),
        1 => branch(level).prop_map(|schema| ("not", schema)),
        1 => branch(level).prop_map(|schema| ("if", schema)),
        1 => branch(level).prop_map(|schema| ("then", schema)),
    ]
    .boxed()
}

/// A schema for the same value, whose own choices are one level deeper so that it ends.
fn branch(level: usize) -> BoxedStrategy<Value> {
    let members = prop::collection::btree_map(name(level), schema(3), 0..3);
    let names = prop::collection::btree_set(name(level), 0..2);
    prop_oneof![
        schema(3),
        (members, names)
            .prop_map(|(members, names)| { json!({ "properties": members, "required": names }) }),
    ]
    .boxed()
}

fn schema(level: usize) -> BoxedStrategy<Value> {
    prop::collection::vec(keyword(level), 0..4)
        .prop_map(|keywords| {
            let pairs = keywords
                .into_iter()
                .map(|(word, value)| (word.to_owned(), value));
            Value::Object(pairs.collect::<Map<_, _>>())
        })
        .boxed()
}

/// A schema, and one that differs from it in a keyword or two, or altogether.
fn pair() -> impl Strategy<Value = (Value, Value)> {
    let edited = (
        schema(0),
        prop::collection::vec((keyword(0), any::<bool>()), 0..3),
    )
        .prop_map(|(old, edits)| {
            let mut new = old.clone();
            if let Some(keywords) = new.as_object_mut() {
                for ((word, value), remove) in edits {
                    if remove {
                        keywords.remove(word);
                    } else {
                        keywords.insert(word.to_owned(), value);
                    }
                }
            }
            (old, new)
        });
    let inside =
        (name(0), schema(1), schema(1), any::<bool>()).prop_map(|(name, one, other, within)| {
            let wrap = |schema: Value| json!({ "type": "object", "properties": { &name: schema } });
            let other = if within {
                json!({ "allOf": [one, other] })
            } else {
                other
            };
            (wrap(one), wrap(other))
        });
    prop_oneof![3 => edited, 3 => inside, 1 => (schema(0), schema(0))]
        .prop_flat_map(|(one, other)| {
            prop_oneof![Just((one.clone(), other.clone())), Just((other, one))]
        })
        .prop_flat_map(|(one, other)| {
            let newer = json!("https://json-schema.org/draft/2020-12/schema");
            (Just(one), Just(other), any::<(bool, bool)>()).prop_map(
                move |(mut one, mut other, (first, second))| {
                    for (schema, is_newer) in [(&mut one, first), (&mut other, second)] {
                        if let Some(keywords) = schema.as_object_mut()
                            && is_newer
                        {
                            keywords.insert("$schema".to_owned(), newer.clone());
                        }
                    }
                    (one, other)
                },
            )
        })
}

/// Whether every member of the value is named somewhere in the schema.
fn is_named(schema: &str, value: &Value) -> bool {
    match value {
        Value::Object(members) => members.iter().all(|(name, value)| {
            schema.contains(&format!("\"{name}\":")) && is_named(schema, value)
        }),
        Value::Array(items) => items.iter().all(|item| is_named(schema, item)),
        _ => true,
    }
}

fn compiled(value: &Value) -> Schema {
    Schema::compile(value).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the old input accepted, the new one accepts; whatever the new output gives, the old
    /// one could have given, complete with what its defaults promised.
    #[test]
    fn what_is_not_reported_does_not_break(
        (old, new) in pair(),
        values in prop::collection::vec(value(0), 60),
    ) {
        let (before, after) = (compiled(&old), compiled(&new));
        if broken_by_schema(Input, &before, &after).is_empty() {
            let text = old.to_string();
            for value in &values {
                if before.admit(value.clone()).is_ok() && is_named(&text, value) {
                    prop_assert!(
                        after.admit(value.clone()).is_ok(),
                        "input {value}\n old {old}\n new {new}"
                    );
                }
            }
        }
        if broken_by_schema(Output, &before, &after).is_empty() {
            for given in values.into_iter().filter_map(|value| after.admit(value).ok()) {
                let given = given.into_value();
                let read = before.admit(given.clone()).map(ValidValue::into_value);
                prop_assert_eq!(read.as_ref(), Ok(&given), "output\n old {}\n new {}", old, new);
            }
        }
    }

    /// A schema breaks nobody by staying the same, whatever is written around it.
    #[test]
    fn a_schema_keeps_its_own_promise(schema in schema(0)) {
        let mut titled = schema.clone();
        if let Some(keywords) = titled.as_object_mut() {
            keywords.insert("title".to_owned(), json!("the same"));
        }
        let (before, after) = (compiled(&schema), compiled(&titled));
        for side in [Input, Output] {
            let found = broken_by_schema(side, &before, &after);
            let known = |one: &Breakage| one.field.is_empty() && one.change.contains("cannot be shown");
            prop_assert!(found.iter().all(known), "{found:?} in {schema}");
        }
    }
}

use Side::{Input, Output};

/// Random pairs of one run.
const CASES: u32 = 400;
