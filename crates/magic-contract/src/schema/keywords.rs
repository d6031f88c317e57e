//! The keywords and formats of both dialects, as data.

use super::Dialect;

/// How a keyword applies the subschemas that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applies {
    /// One, to the same value.
    Same,
    /// A list, to the same value; `certain` if all of them always hold.
    SameList {
        /// Whether all always hold.
        certain: bool,
    },
    /// An object of them, to the same value.
    SameMap,
    /// An object of them, which apply where they are referred to.
    Definitions,
    /// An object of them, to the members of those names.
    Properties,
    /// An object of them, to the members whose names match.
    PatternProperties,
    /// One, to the members that are not named.
    Additional,
    /// One, to any member.
    AnyMember,
    /// One, to the names of members.
    Names,
    /// One to every item, or a list with one per item.
    Items,
    /// A list with one per item.
    FirstItems,
    /// One, to any item.
    AnyItem,
}

/// How the keyword applies subschemas in this dialect, if it does.
pub(super) fn applies(keyword: &str, dialect: Dialect) -> Option<Applies> {
    let newer = dialect == Dialect::Draft202012;
    Some(match keyword {
        "not" | "if" | "then" | "else" => Applies::Same,
        "allOf" => Applies::SameList { certain: true },
        "anyOf" | "oneOf" => Applies::SameList { certain: false },
        "dependencies" => Applies::SameMap,
        "dependentSchemas" if newer => Applies::SameMap,
        "definitions" | "$defs" => Applies::Definitions,
        "properties" => Applies::Properties,
        "patternProperties" => Applies::PatternProperties,
        "additionalProperties" => Applies::Additional,
        "unevaluatedProperties" if newer => Applies::AnyMember,
        "propertyNames" => Applies::Names,
        "items" => Applies::Items,
        "prefixItems" if newer => Applies::FirstItems,
        "unevaluatedItems" if newer => Applies::AnyItem,
        "additionalItems" if !newer => Applies::AnyItem,
        "contains" => Applies::AnyItem,
        _ => return None,
    })
}

/// Keywords of both dialects.
const COMMON: &[&str] = &[
    "$id",
    "$schema",
    "$ref",
    "$comment",
    "title",
    "description",
    "default",
    "examples",
    "readOnly",
    "writeOnly",
    "type",
    "enum",
    "const",
    "multipleOf",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "items",
    "maxItems",
    "minItems",
    "uniqueItems",
    "contains",
    "maxProperties",
    "minProperties",
    "required",
    "properties",
    "patternProperties",
    "additionalProperties",
    "propertyNames",
    "if",
    "then",
    "else",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "format",
    "contentMediaType",
    "contentEncoding",
    "definitions",
    "dependencies",
    "deprecated",
];
/// Keywords of draft-07 alone.
const ONLY_DRAFT_07: &[&str] = &["additionalItems"];
/// Keywords of 2020-12 alone.
const ONLY_2020_12: &[&str] = &[
    "$defs",
    "$anchor",
    "$dynamicRef",
    "$dynamicAnchor",
    "$vocabulary",
    "prefixItems",
    "unevaluatedItems",
    "unevaluatedProperties",
    "dependentSchemas",
    "dependentRequired",
    "maxContains",
    "minContains",
    "contentSchema",
];

/// Every keyword of the dialect.
pub(super) fn known(dialect: Dialect) -> Vec<&'static str> {
    let own = match dialect {
        Dialect::Draft07 => ONLY_DRAFT_07,
        Dialect::Draft202012 => ONLY_2020_12,
    };
    COMMON.iter().chain(own).copied().collect()
}

/// Whether the dialect has this keyword. `$defs` is a usual place for definitions in both.
pub(super) fn is_known(keyword: &str, dialect: Dialect) -> bool {
    keyword == "$defs" || known(dialect).contains(&keyword)
}

/// The formats that are asserted in both dialects. `uuid` and `duration` are younger than draft-07,
/// and `password` only marks a secret, but all three are what authors expect.
pub(super) fn formats() -> &'static [&'static str] {
    const FORMATS: &[&str] = &[
        "date",
        "date-time",
        "time",
        "duration",
        "email",
        "hostname",
        "ipv4",
        "ipv6",
        "uri",
        "uri-reference",
        "uri-template",
        "iri",
        "iri-reference",
        "uuid",
        "json-pointer",
        "relative-json-pointer",
        "regex",
        "password",
    ];
    FORMATS
}

/// The dialect that a `$schema` names.
pub(super) fn dialect_of(uri: &str) -> Option<Dialect> {
    let uri = uri.strip_suffix('#').unwrap_or(uri);
    let uri = uri
        .strip_prefix("https://")
        .or_else(|| uri.strip_prefix("http://"))?;
    match uri {
        "json-schema.org/draft-07/schema" => Some(Dialect::Draft07),
        "json-schema.org/draft/2020-12/schema" => Some(Dialect::Draft202012),
        _ => None,
    }
}

/// The `$schema` of a dialect.
pub(super) fn uri_of(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Draft07 => "http://json-schema.org/draft-07/schema#",
        Dialect::Draft202012 => "https://json-schema.org/draft/2020-12/schema",
    }
}
