//! Turns a surveyed schema into a validator with every loose end tied.

use std::sync::LazyLock;

use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::{Value, json};

use super::explain::findings;
use super::graph::Graph;
use super::survey::{Survey, survey};
use super::{Compiled, Dialect, SchemaProblem, keywords, on_deep_stack};
use crate::error_code::ErrorCode;
use crate::reader::{listing, nearest};
use crate::violation::{describe, shorten_to};

/// The words that `type` takes.
const TYPES: &[&str] = &[
    "string", "number", "integer", "boolean", "object", "array", "null",
];

/// How large one compiled pattern may become, in bytes. Matching is linear in the text, but each
/// character may cost as much as the pattern is large.
const PATTERN_BYTES: usize = 256 << 10;

pub(super) fn compile(value: &Value) -> Result<Compiled, Vec<SchemaProblem>> {
    let dialect = dialect(value).map_err(|problem| vec![problem])?;
    // Both steps recurse as deep as the schema is nested.
    on_deep_stack(|| compile_in(value, dialect)).unwrap_or_else(|| {
        Err(vec![SchemaProblem {
            code: ErrorCode::UnsupportedSchema,
            path: String::new(),
            message: "the schema could not be compiled".to_owned(),
            expected: None,
            hint: None,
        }])
    })
}

fn compile_in(value: &Value, dialect: Dialect) -> Result<Compiled, Vec<SchemaProblem>> {
    let Survey {
        graph,
        mut problems,
        warnings,
    } = survey(value, dialect);
    problems.extend(breaches(value, dialect));
    if !problems.is_empty() {
        return Err(problems);
    }
    let validator = build(value, dialect).map_err(|error| vec![reword(&error)])?;
    Ok(Compiled {
        value: value.clone(),
        dialect,
        validator,
        graph,
        warnings,
    })
}

fn dialect(value: &Value) -> Result<Dialect, SchemaProblem> {
    let Some(named) = value.get("$schema") else {
        return Ok(Dialect::default());
    };
    named
        .as_str()
        .and_then(keywords::dialect_of)
        .ok_or_else(|| SchemaProblem {
            code: ErrorCode::UnsupportedSchema,
            path: "/$schema".to_owned(),
            message: format!("the dialect {} is not supported", describe(named, false)),
            expected: Some(format!(
                "\"{}\" or \"{}\", or no `$schema`, which means the first",
                keywords::uri_of(Dialect::Draft07),
                keywords::uri_of(Dialect::Draft202012)
            )),
            hint: None,
        })
}

/// Where the value breaks the metaschema of its dialect.
fn breaches(value: &Value, dialect: Dialect) -> Vec<SchemaProblem> {
    let metaschema = match dialect {
        Dialect::Draft07 => jsonschema::draft7::meta::validator(),
        Dialect::Draft202012 => jsonschema::draft202012::meta::validator(),
    };
    if metaschema.is_valid(value) {
        return Vec::new();
    }
    let mut breaches: Vec<SchemaProblem> = Vec::new();
    for violation in findings(&metaschema, &Graph::default(), value) {
        let keyword = violation.field.rsplit('/').next().unwrap_or_default();
        let written = value.pointer(&violation.field).and_then(Value::as_str);
        let is_type = keyword == "type" && violation.constraint == "anyOf";
        let (expected, hint) = if is_type {
            let hint = written
                .and_then(|word| nearest(word, TYPES))
                .map(|meant| format!("did you mean `{meant}`?"));
            (format!("{}, or a list of them", listing(TYPES)), hint)
        } else {
            (violation.expected, None)
        };
        let breach = SchemaProblem {
            code: ErrorCode::InvalidContract,
            message: format!(
                "this is not a valid schema: `{}` cannot be {}",
                shorten_to(keyword, 64),
                violation.received
            ),
            path: violation.field,
            expected: Some(expected),
            hint,
        };
        if !breaches.iter().any(|other| other.path == breach.path) {
            breaches.push(breach);
        }
    }
    breaches
}

/// Builds the validator of a schema, or of a part of one.
pub(super) fn build(
    value: &Value,
    dialect: Dialect,
) -> Result<Validator, ValidationError<'static>> {
    jsonschema::options()
        .with_draft(match dialect {
            Dialect::Draft07 => Draft::Draft7,
            Dialect::Draft202012 => Draft::Draft202012,
        })
        .offline()
        .should_validate_formats(true)
        .should_ignore_unknown_formats(false)
        .with_format("password", |_: &str| true)
        .with_format("uuid", |text: &str| is_of_format("uuid", text))
        .with_format("duration", |text: &str| is_of_format("duration", text))
        .with_pattern_options(
            PatternOptions::regex()
                .size_limit(PATTERN_BYTES)
                .dfa_size_limit(PATTERN_BYTES * 4),
        )
        .build(value)
}

/// Asks the newer dialect about formats that draft-07 does not have.
fn is_of_format(format: &str, text: &str) -> bool {
    static VALIDATORS: LazyLock<Vec<(&str, Option<Validator>)>> = LazyLock::new(|| {
        let validator = |format| {
            let options = jsonschema::options()
                .with_draft(Draft::Draft202012)
                .should_validate_formats(true)
                .offline();
            (format, options.build(&json!({ "format": format })).ok())
        };
        vec![validator("uuid"), validator("duration")]
    });
    let validator = VALIDATORS
        .iter()
        .find(|(one, _)| *one == format)
        .and_then(|(_, validator)| validator.as_ref());
    // A format that could not be set up refuses everything rather than nothing.
    validator.is_some_and(|validator| validator.is_valid(&Value::from(text)))
}

/// The validator's refusal in our words.
fn reword(error: &ValidationError<'_>) -> SchemaProblem {
    let path = error.instance_path().as_str().to_owned();
    let keyword = path.rsplit('/').next().unwrap_or_default().to_owned();
    let reason = shorten_to(&error.masked().to_string(), 300);
    let about_pattern = keyword == "pattern" || path.contains("/patternProperties");
    if about_pattern {
        return SchemaProblem {
            code: ErrorCode::UnsupportedSchema,
            message: format!(
                "the pattern {} cannot be matched in linear time",
                describe(error.instance(), false)
            ),
            path,
            expected: Some(
                "a regular expression without look-around and back-references, of bounded size"
                    .to_owned(),
            ),
            hint: None,
        };
    }
    SchemaProblem {
        code: ErrorCode::InvalidContract,
        path,
        message: format!("this is not a valid schema: {reason}"),
        expected: None,
        hint: None,
    }
}
