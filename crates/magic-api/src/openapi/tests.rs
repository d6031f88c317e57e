//! The description against the route table.

use std::collections::HashSet;

use super::*;

/// A route that nobody has described is found here, and so is a description of a route that is gone.
#[test]
fn every_route_is_described() {
    let mut ids = HashSet::new();
    for route in ROUTES {
        let operation = operations::of(route.method.as_str(), route.path);
        let operation = operation.unwrap_or_else(|| {
            panic!(
                "describe {} {} in openapi/operations.rs",
                route.method, route.path
            )
        });
        assert!(ids.insert(operation.id), "{} is there twice", operation.id);
        assert!(!operation.answers.is_empty(), "{}", operation.id);
    }
}

/// Every code of the catalogue is an answer of some route, with the status that it has.
#[test]
fn every_code_is_somewhere() {
    let mut missing: HashSet<ErrorCode> = ErrorCode::ALL.iter().copied().collect();
    for route in ROUTES {
        let operation =
            operations::of(route.method.as_str(), route.path).unwrap_or(Operation::NONE);
        for codes in codes(route, &operation).values() {
            for code in codes {
                missing.remove(code);
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

/// No reference leads nowhere.
#[test]
fn references_lead_somewhere() {
    fn check(document: &Value, part: &Value) {
        match part {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    let place = reference.strip_prefix('#').expect("within the document");
                    assert!(document.pointer(place).is_some(), "{reference}");
                }
                members.values().for_each(|value| check(document, value));
            }
            Value::Array(items) => items.iter().for_each(|value| check(document, value)),
            _ => {}
        }
    }
    let document = document(&[]);
    check(&document, &document);
}
