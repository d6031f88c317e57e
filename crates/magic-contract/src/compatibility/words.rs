//! How a change is said to people.

use serde_json::Value;

use super::Side;
use crate::violation::{describe, quote, shorten_to};

/// What a keyword asks for, as the end of "must be ...".
pub(super) fn demand(keyword: &str, value: &Value) -> String {
    let shown = describe(value, false);
    match keyword {
        "minimum" => format!("at least {shown}"),
        "exclusiveMinimum" => format!("more than {shown}"),
        "maximum" => format!("at most {shown}"),
        "exclusiveMaximum" => format!("less than {shown}"),
        "multipleOf" => format!("a multiple of {shown}"),
        "minLength" => format!("at least {shown} characters long"),
        "maxLength" => format!("at most {shown} characters long"),
        "minItems" => format!("a list of at least {shown} items"),
        "maxItems" => format!("a list of at most {shown} items"),
        "minProperties" => format!("an object of at least {shown} fields"),
        "maxProperties" => format!("an object of at most {shown} fields"),
        "uniqueItems" => "a list without repeated items".to_owned(),
        "pattern" => format!("of the pattern {shown}"),
        "format" => format!("of the format {shown}"),
        "contentEncoding" | "contentMediaType" => format!("text that holds {shown}"),
        "const" => format!("exactly {shown}"),
        _ => "one of the listed values".to_owned(),
    }
}

/// A demand that did not hold before (for input) or does not hold any more (for output).
pub(super) fn demanded(side: Side, demand: &str) -> String {
    match side {
        Side::Input => format!("must be {demand} now"),
        Side::Output => format!("is not always {demand} any more"),
    }
}

/// Something that could not be compared.
pub(super) fn unproven(keyword: &str) -> String {
    let keyword = shorten_to(keyword, 32);
    format!("has another `{keyword}`, which cannot be shown to be compatible")
}

/// The path of a member.
pub(super) fn member(path: &str, name: &str) -> String {
    let plain = !name.is_empty()
        && name.chars().count() <= 64
        && name
            .chars()
            .all(|letter| letter.is_alphanumeric() || "_-$@".contains(letter));
    if !plain {
        format!("{path}[{}]", quote(name))
    } else if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}
