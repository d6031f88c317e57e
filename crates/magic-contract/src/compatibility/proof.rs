//! Asks the schema engine whether one schema covers another.
//!
//! The engine reduces both to a normal form and answers yes, no or unknown. Only yes and no are
//! used, and a run that fails in any way is an unknown: nothing is allowed because it could not be
//! understood. The engine bounds its own work; large schemas are not given to it at all.

use jsonschema::canonical::Containment;
use jsonschema::{Draft, PatternOptions};
use serde_json::Value;

use crate::schema::{Effective, on_deep_stack};

/// The most subschemas that the engine is asked about.
const MOST_PLACES: usize = 300;
/// The most choices of a schema that the engine is asked about, since it multiplies them out: with
/// 250 alternatives one question takes more than a minute.
const MOST_CHOICES: usize = 16;
/// How large a compiled pattern may become, in bytes.
const PATTERN_BYTES: usize = 256 << 10;

/// Whether a schema accepts everything that another accepts, if that can be told.
pub(super) fn covers(wide: &Value, narrow: &Value) -> Option<bool> {
    // A panic of the engine ends its thread alone, and is an unknown.
    on_deep_stack(|| {
        let wide = canonical(wide)?;
        let narrow = canonical(narrow)?;
        match wide.covers(&narrow) {
            Ok(Containment::Yes) => Some(true),
            Ok(Containment::No) => Some(false),
            Ok(Containment::Unknown) | Err(_) => None,
        }
    })?
}

/// Whether the engine may be asked about this schema.
pub(super) fn is_askable(schema: &Effective) -> bool {
    let mut left = MOST_CHOICES;
    schema.asserted && schema.places <= MOST_PLACES && is_simple(&schema.document, &mut left)
}

/// Whether the choices of a schema fit into what is left. A member that happens to be called like a
/// keyword counts as one, which only means that the engine is asked less often.
fn is_simple(schema: &Value, left: &mut usize) -> bool {
    let cost_of = |keyword: &str, value: &Value| match keyword {
        "anyOf" | "oneOf" => value.as_array().map_or(1, Vec::len),
        "enum" => value.as_array().map_or(1, |values| values.len() / 16),
        "not" | "if" | "contains" | "dependentSchemas" | "patternProperties" => 2,
        "pattern" => 1,
        _ => 0,
    };
    match schema {
        Value::Object(keywords) => keywords.iter().all(|(keyword, value)| {
            let rest = left.checked_sub(cost_of(keyword, value));
            rest.is_some_and(|rest| {
                *left = rest;
                is_simple(value, left)
            })
        }),
        Value::Array(items) => items.iter().all(|item| is_simple(item, left)),
        _ => true,
    }
}

fn canonical(schema: &Value) -> Option<jsonschema::canonical::CanonicalSchema> {
    jsonschema::canonical::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .offline()
        .with_pattern_options(
            PatternOptions::regex()
                .size_limit(PATTERN_BYTES)
                .dfa_size_limit(PATTERN_BYTES * 4),
        )
        .canonicalize(schema)
        .ok()
}
