//! Words for why a value was refused.
//!
//! The validator's own messages quote the value, which may be a secret or megabytes, so only its
//! typed findings are used and the words are our own.

use jsonschema::error::{TypeKind, ValidationErrorKind as Finding};
use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use super::graph::Graph;
use crate::violation::{Violation, describe, quote, shorten, shorten_to};

/// How many violations of one value are worded.
const MOST_VIOLATIONS: usize = 20;
/// How deep subschema evaluations may nest. Each alternative that fails keeps all findings below it,
/// with their paths, so the cost of explaining grows with the square of this.
const MOST_NESTED: usize = 1_000;
/// How long the text of an expectation may become.
const EXPECTED_CHARACTERS: usize = 300;

/// Words for at most twenty of the rules that the value breaks, at least one.
pub(super) fn explain(
    validator: &Validator,
    graph: &Graph,
    value: &Value,
    depth: usize,
) -> Vec<Violation> {
    let evaluations = depth.saturating_mul(graph.chain);
    if depth > graph.explained_depth || evaluations > MOST_NESTED {
        return vec![unexplained(value)];
    }
    let mut violations = findings(validator, graph, value);
    if violations.is_empty() {
        violations.push(unexplained(value));
    }
    violations
}

/// The same for values that are known to be cheap to explain; possibly none.
pub(super) fn findings(validator: &Validator, graph: &Graph, value: &Value) -> Vec<Violation> {
    let mut violations: Vec<Violation> = Vec::new();
    for error in validator.iter_errors(value).take(MOST_VIOLATIONS) {
        let violation = word(&error, graph);
        if !violations.contains(&violation) {
            violations.push(violation);
        }
    }
    violations
}

/// For values that could not be judged at all, because the host had no thread to spare or the
/// validator failed. Refusing is the safe side.
pub(super) fn unjudged() -> Violation {
    let expected = "a value that can be judged".to_owned();
    Violation::new(
        String::new(),
        "schema",
        expected,
        "one that could not be".to_owned(),
    )
}

/// For values so deep, under schemas so branched, that finding the place would take too long.
fn unexplained(value: &Value) -> Violation {
    Violation::new(
        String::new(),
        "schema",
        "a value that the schema admits".to_owned(),
        format!(
            "{}, too deeply nested to name the place",
            describe(value, false)
        ),
    )
}

fn word(error: &ValidationError<'_>, graph: &Graph) -> Violation {
    let field = error.instance_path().as_str().to_owned();
    let segments: Vec<String> = field
        .split('/')
        .skip(1)
        .map(|segment| segment.replace("~1", "/").replace("~0", "~"))
        .collect();
    let masked = graph.is_secret(segments.iter().map(String::as_str));
    let expected = shorten_long(expectation(error.kind()));
    let received = match error.kind() {
        Finding::Required { .. } => "nothing there".to_owned(),
        Finding::AdditionalProperties { unexpected }
        | Finding::UnevaluatedProperties { unexpected } => {
            format!("also {}", names(unexpected))
        }
        _ => describe(error.instance(), masked),
    };
    // A missing property is reported where it should be, so that the pointer names it.
    let field = match error.kind() {
        Finding::Required { property } => {
            crate::document::child(&field, property.as_str().unwrap_or_default())
        }
        _ => field,
    };
    Violation::new(field, error.kind().keyword(), expected, received)
}

fn expectation(finding: &Finding) -> String {
    match finding {
        Finding::AdditionalItems { limit } => {
            format!("at most {}", plural(*limit as u64, "item", "items"))
        }
        Finding::AdditionalProperties { .. } | Finding::UnevaluatedProperties { .. } => {
            "only the properties that the schema names".to_owned()
        }
        Finding::UnevaluatedItems { .. } => "only the items that the schema describes".to_owned(),
        Finding::AnyOf { context } => format!(
            "a value that fits at least one of {} alternatives",
            context.len()
        ),
        Finding::OneOfNotValid { context } => {
            format!("a value that fits one of {} alternatives", context.len())
        }
        Finding::OneOfMultipleValid { .. } => {
            "a value that fits only one of the alternatives".to_owned()
        }
        Finding::Constant { expected_value } => literal(expected_value),
        Finding::Contains => "an array that contains the items that the schema asks for".to_owned(),
        Finding::ContentEncoding { content_encoding } => {
            format!("text in the encoding {}", shorten(content_encoding))
        }
        Finding::ContentMediaType { content_media_type } => {
            format!("text of the media type {}", shorten(content_media_type))
        }
        Finding::Enum { options } => match options.as_array() {
            Some(options) => format!(
                "one of {}",
                options.iter().map(literal).collect::<Vec<_>>().join(", ")
            ),
            None => literal(options),
        },
        Finding::ExclusiveMaximum { limit } => format!("a number less than {limit}"),
        Finding::ExclusiveMinimum { limit } => format!("a number greater than {limit}"),
        Finding::Maximum { limit } => format!("a number of at most {limit}"),
        Finding::Minimum { limit } => format!("a number of at least {limit}"),
        Finding::MultipleOf { multiple_of } => format!("a multiple of {multiple_of}"),
        Finding::FalseSchema => "nothing: no value is allowed here".to_owned(),
        Finding::Format { format } => shorten(format),
        Finding::MaxItems { limit } => format!("at most {}", plural(*limit, "item", "items")),
        Finding::MinItems { limit } => format!("at least {}", plural(*limit, "item", "items")),
        Finding::MaxLength { limit } => {
            format!("at most {}", plural(*limit, "character", "characters"))
        }
        Finding::MinLength { limit } => {
            format!("at least {}", plural(*limit, "character", "characters"))
        }
        Finding::MaxProperties { limit } => {
            format!("at most {}", plural(*limit, "property", "properties"))
        }
        Finding::MinProperties { limit } => {
            format!("at least {}", plural(*limit, "property", "properties"))
        }
        Finding::Not { .. } => "a value that the schema under `not` refuses".to_owned(),
        Finding::Pattern { pattern } => format!("text that matches {}", shorten_to(pattern, 200)),
        Finding::PropertyNames { error } => {
            format!("property names that are {}", expectation(error.kind()))
        }
        Finding::Required { property } => {
            format!(
                "the property {}",
                property
                    .as_str()
                    .map_or_else(|| property.to_string(), quote)
            )
        }
        Finding::Type { kind } => types(kind),
        Finding::UniqueItems => "items that are all different".to_owned(),
        _ => "a value that the schema admits".to_owned(),
    }
}

fn types(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(one) => one.to_string(),
        TypeKind::Multiple(set) => set
            .iter()
            .map(|one| one.to_string())
            .collect::<Vec<_>>()
            .join(" or "),
    }
}

fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn literal(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        other => shorten(&other.to_string()),
    }
}

fn names(list: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut shown = list
        .iter()
        .take(SHOWN)
        .map(|name| quote(name))
        .collect::<Vec<_>>()
        .join(", ");
    if list.len() > SHOWN {
        shown.push_str(&format!(" and {} more", list.len() - SHOWN));
    }
    shown
}

/// Expectations come from the schema, which its author wrote to be read, so they are only cut.
fn shorten_long(text: String) -> String {
    if text.chars().count() <= EXPECTED_CHARACTERS {
        return text;
    }
    text.chars()
        .take(EXPECTED_CHARACTERS)
        .chain(['…'])
        .collect()
}
