//! Walks a schema before it is compiled: finds what must be refused, and draws the graph.
//!
//! Only places where JSON Schema expects a subschema are walked, so a property that happens to be
//! called `$ref` or `pattern` is not taken for a keyword.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::graph::{Graph, Place};
use super::keywords::{self, Applies};
use super::references::{Base, Resources};
use super::{Dialect, SchemaProblem};
use crate::document::{child, item};
use crate::error_code::ErrorCode;
use crate::reader::{listing, nearest};
use crate::violation::{quote, shorten};

/// The most subschemas.
const MOST_PLACES: usize = 10_000;
/// The deepest nesting of subschemas.
const DEEPEST: usize = 64;
/// The most alternatives of one `anyOf` or `oneOf`, since each item of a list may try all of them.
const MOST_ALTERNATIVES: usize = 256;
/// The most values of one `enum`.
const MOST_ENUM_VALUES: usize = 2_000;
/// The most patterns of one schema, and the most characters of one.
const MOST_PATTERNS: usize = 256;
const LONGEST_PATTERN: usize = 1_000;
/// The largest count that a number of JSON carries exactly everywhere (2^53).
const LARGEST_COUNT: f64 = 9_007_199_254_740_992.0;
/// The range in which a remainder of 64-bit floats means something.
const MULTIPLE_RANGE: (f64, f64) = (1e-12, 1e18);

/// What a survey found.
#[derive(Default)]
pub(super) struct Survey {
    pub(super) graph: Graph,
    pub(super) problems: Vec<SchemaProblem>,
    pub(super) warnings: Vec<SchemaProblem>,
}

/// Surveys a schema.
pub(super) fn survey(schema: &Value, dialect: Dialect) -> Survey {
    let mut surveyor = Surveyor {
        schema,
        dialect,
        found: Survey::default(),
        by_pointer: HashMap::new(),
        pointers: Vec::new(),
        references: Vec::new(),
        resources: Resources::default(),
        patterns: 0,
    };
    surveyor.walk(schema, "", &Base::root(), 0);
    surveyor.resolve_references();
    let mut found = surveyor.found;
    if found.problems.is_empty() {
        match std::mem::take(&mut found.graph).finish() {
            Ok(graph) => found.graph = graph,
            Err(place) => found.problems.push(SchemaProblem {
                code: ErrorCode::UnsupportedSchema,
                path: surveyor.pointers.get(place).cloned().unwrap_or_default(),
                message:
                    "the schema refers to itself without going into the value, which never ends"
                        .to_owned(),
                expected: Some(
                    "a reference to itself only below `properties`, `items` or their like"
                        .to_owned(),
                ),
                hint: None,
            }),
        }
    }
    found
}

struct Reference {
    from: usize,
    pointer: String,
    text: String,
    base: Base,
    dynamic: bool,
}

struct Surveyor<'s> {
    schema: &'s Value,
    dialect: Dialect,
    found: Survey,
    by_pointer: HashMap<String, usize>,
    pointers: Vec<String>,
    references: Vec<Reference>,
    resources: Resources,
    patterns: usize,
}

impl<'s> Surveyor<'s> {
    fn unsupported(
        &mut self,
        path: String,
        message: impl Into<String>,
        expected: impl Into<String>,
    ) {
        self.problem(
            ErrorCode::UnsupportedSchema,
            path,
            message,
            Some(expected.into()),
            None,
        );
    }

    fn problem(
        &mut self,
        code: ErrorCode,
        path: String,
        message: impl Into<String>,
        expected: Option<String>,
        hint: Option<String>,
    ) {
        self.found.problems.push(SchemaProblem {
            code,
            path,
            message: message.into(),
            expected,
            hint,
        });
    }

    fn warn(&mut self, path: String, message: String, hint: Option<String>) {
        let code = ErrorCode::InvalidContract;
        self.found.warnings.push(SchemaProblem {
            code,
            path,
            message,
            expected: None,
            hint,
        });
    }

    /// Adds the place of a subschema and everything below it. Gives nothing for what is no schema,
    /// which the compiler's check against the metaschema reports, or when a limit was reached.
    fn walk(
        &mut self,
        schema: &'s Value,
        pointer: &str,
        base: &Base,
        depth: usize,
    ) -> Option<usize> {
        if let Some(known) = self.by_pointer.get(pointer) {
            return Some(*known);
        }
        if self.pointers.len() >= MOST_PLACES || depth > DEEPEST {
            if self.found.problems.is_empty() {
                let accepted = format!(
                    "at most {MOST_PLACES} subschemas, nested at most {DEEPEST} levels deep"
                );
                self.unsupported(
                    pointer.to_owned(),
                    "the schema is too large or too deep",
                    accepted,
                );
            }
            return None;
        }
        let index = self.pointers.len();
        self.pointers.push(pointer.to_owned());
        self.by_pointer.insert(pointer.to_owned(), index);
        self.found.graph.places.push(Place {
            pointer: pointer.to_owned(),
            ..Place::default()
        });
        let Some(keywords) = schema.as_object() else {
            return Some(index);
        };
        let base = self.resources.enter(keywords, base, index, self.dialect);
        if self.dialect == Dialect::Draft07 && keywords.get("$ref").is_some_and(Value::is_string) {
            self.only_reference(index, keywords, pointer, &base, depth);
            return Some(index);
        }
        for (keyword, value) in keywords {
            let path = child(pointer, keyword);
            self.check_keyword(keyword, value, &path);
            self.walk_keyword(index, keyword, value, &path, &base, depth);
        }
        let text = |key: &str| keywords.get(key).and_then(Value::as_str);
        let flag = |key: &str| keywords.get(key) == Some(&Value::Bool(true));
        let place = &mut self.found.graph.places[index];
        place.default = keywords.get("default").cloned();
        place.secret = flag("writeOnly") || text("format") == Some("password");
        Some(index)
    }

    /// Draft-07 ignores everything beside `$ref`; what stands under `definitions` can still be
    /// referred to.
    fn only_reference(
        &mut self,
        index: usize,
        keywords: &'s Map<String, Value>,
        pointer: &str,
        base: &Base,
        depth: usize,
    ) {
        for (keyword, value) in keywords {
            let path = child(pointer, keyword);
            match keyword.as_str() {
                "$ref" | "definitions" | "$defs" => {
                    self.walk_keyword(index, keyword, value, &path, base, depth)
                }
                "$schema" => self.check_keyword(keyword, value, &path),
                "title" | "description" | "$comment" | "$id" => {}
                other => {
                    let message = format!(
                        "`{}` has no effect beside `$ref` in draft-07",
                        shorten(other)
                    );
                    self.warn(
                        path,
                        message,
                        Some("wrap the reference: `allOf: [{ $ref: ... }]`".to_owned()),
                    );
                }
            }
        }
    }

    fn walk_keyword(
        &mut self,
        index: usize,
        keyword: &str,
        value: &'s Value,
        path: &str,
        base: &Base,
        depth: usize,
    ) {
        if let ("$ref" | "$dynamicRef", Some(text)) = (keyword, value.as_str()) {
            self.references.push(Reference {
                from: index,
                pointer: path.to_owned(),
                text: text.to_owned(),
                base: base.clone(),
                dynamic: keyword == "$dynamicRef",
            });
            return;
        }
        match (keywords::applies(keyword, self.dialect), value) {
            (Some(Applies::Same), Value::Object(_) | Value::Bool(_)) => {
                let target = self.walk(value, path, base, depth + 1);
                self.place(index).same.extend(target);
            }
            (Some(Applies::SameList { certain }), Value::Array(list)) => {
                for (number, value) in list.iter().enumerate() {
                    let target = self.walk(value, &item(path, number), base, depth + 1);
                    self.place(index).same.extend(target);
                    if certain {
                        self.place(index).certain.extend(target);
                    }
                }
            }
            (Some(Applies::SameMap), Value::Object(members)) => {
                for (name, value) in members.iter().filter(|(_, value)| !value.is_array()) {
                    let target = self.walk(value, &child(path, name), base, depth + 1);
                    self.place(index).same.extend(target);
                }
            }
            (Some(Applies::Definitions), Value::Object(members)) => {
                for (name, value) in members {
                    self.walk(value, &child(path, name), base, depth + 1);
                }
            }
            (Some(Applies::Properties), Value::Object(members)) => {
                for (name, value) in members {
                    if let Some(target) = self.walk(value, &child(path, name), base, depth + 1) {
                        self.place(index).properties.push((name.clone(), target));
                    }
                }
            }
            (Some(Applies::PatternProperties), Value::Object(members)) => {
                for (pattern, value) in members {
                    self.check_pattern(pattern, &child(path, pattern));
                    let target = self.walk(value, &child(path, pattern), base, depth + 1);
                    self.place(index).any_member.extend(target);
                }
            }
            (Some(Applies::Additional), _) => {
                let target = self.walk(value, path, base, depth + 1);
                self.place(index).additional = target;
            }
            (Some(Applies::AnyMember), _) => {
                let target = self.walk(value, path, base, depth + 1);
                self.place(index).any_member.extend(target);
            }
            // The names of members are strings, which have nothing below them.
            (Some(Applies::Names), _) => {
                self.walk(value, path, base, depth + 1);
            }
            (Some(Applies::Items | Applies::FirstItems), Value::Array(list)) => {
                for (number, value) in list.iter().enumerate() {
                    let target = self.walk(value, &item(path, number), base, depth + 1);
                    self.place(index).first_items.extend(target);
                }
            }
            (Some(Applies::Items), _) => {
                let target = self.walk(value, path, base, depth + 1);
                self.place(index).items = target;
            }
            (Some(Applies::AnyItem), _) => {
                let target = self.walk(value, path, base, depth + 1);
                self.place(index).any_item.extend(target);
            }
            _ => {}
        }
    }

    fn place(&mut self, index: usize) -> &mut Place {
        &mut self.found.graph.places[index]
    }

    fn check_keyword(&mut self, keyword: &str, value: &Value, path: &str) {
        match keyword {
            "$schema" => {
                let same = value.as_str().and_then(keywords::dialect_of) == Some(self.dialect);
                if !same {
                    let accepted =
                        format!("the dialect of the whole schema, {}", self.dialect.as_str());
                    self.unsupported(
                        path.to_owned(),
                        "the subschema names another dialect",
                        accepted,
                    );
                }
            }
            "format" => self.check_format(value, path),
            "pattern" => {
                if let Some(pattern) = value.as_str() {
                    self.check_pattern(pattern, path);
                }
            }
            "multipleOf" => {
                let divisor = value.as_f64().unwrap_or(1.0);
                if divisor > 0.0 && !(MULTIPLE_RANGE.0..=MULTIPLE_RANGE.1).contains(&divisor) {
                    self.unsupported(
                        path.to_owned(),
                        format!("no remainder can be computed for {value}"),
                        "a divisor from 1e-12 to 1e18",
                    );
                }
            }
            "maxLength" | "minLength" | "maxItems" | "minItems" | "maxProperties"
            | "minProperties" | "maxContains" | "minContains" => {
                if value.as_f64().is_some_and(|count| count > LARGEST_COUNT) {
                    self.unsupported(
                        path.to_owned(),
                        format!("no value can have a size of {value}"),
                        "a count of at most 2^53",
                    );
                }
            }
            "anyOf" | "oneOf" => {
                if let Some(count) = value
                    .as_array()
                    .map(Vec::len)
                    .filter(|count| *count > MOST_ALTERNATIVES)
                {
                    let accepted = format!("at most {MOST_ALTERNATIVES}, or an `enum`");
                    self.unsupported(
                        path.to_owned(),
                        format!("`{keyword}` has {count} alternatives"),
                        accepted,
                    );
                }
            }
            "enum" => {
                if let Some(count) = value
                    .as_array()
                    .map(Vec::len)
                    .filter(|count| *count > MOST_ENUM_VALUES)
                {
                    self.unsupported(
                        path.to_owned(),
                        format!("`enum` has {count} values"),
                        format!("at most {MOST_ENUM_VALUES}"),
                    );
                }
            }
            _ if keywords::is_known(keyword, self.dialect) || keyword.starts_with("x-") => {}
            _ => self.warn_unknown(keyword, path),
        }
    }

    fn check_format(&mut self, value: &Value, path: &str) {
        let Some(format) = value.as_str() else { return };
        let known = keywords::formats();
        if !known.contains(&format) {
            let hint = nearest(format, known).map(|meant| format!("did you mean `{meant}`?"));
            let message = format!(
                "the format {} is not known, so nothing could be checked",
                quote(format)
            );
            self.problem(
                ErrorCode::UnsupportedSchema,
                path.to_owned(),
                message,
                Some(listing(known)),
                hint,
            );
        }
    }

    fn check_pattern(&mut self, pattern: &str, path: &str) {
        self.patterns += 1;
        if self.patterns == MOST_PATTERNS + 1 {
            self.unsupported(
                path.to_owned(),
                "the schema has too many patterns",
                format!("at most {MOST_PATTERNS}"),
            );
        }
        let length = pattern.chars().count();
        if length > LONGEST_PATTERN {
            let message = format!("the pattern has {length} characters");
            self.unsupported(
                path.to_owned(),
                message,
                format!("at most {LONGEST_PATTERN}"),
            );
        }
    }

    fn warn_unknown(&mut self, keyword: &str, path: &str) {
        let other = match self.dialect {
            Dialect::Draft07 => Dialect::Draft202012,
            Dialect::Draft202012 => Dialect::Draft07,
        };
        let (message, hint) = if keywords::is_known(keyword, other) {
            let message = format!(
                "`{keyword}` is a keyword of {}, and has no effect in {}",
                other.as_str(),
                self.dialect.as_str()
            );
            (
                message,
                Some(format!(
                    "add `$schema: \"{}\"` to use it",
                    keywords::uri_of(other)
                )),
            )
        } else {
            let known = keywords::known(self.dialect);
            let hint = nearest(keyword, &known).map(|meant| format!("did you mean `{meant}`?"));
            (
                format!(
                    "`{}` is not a keyword of {}, and has no effect",
                    shorten(keyword),
                    self.dialect.as_str()
                ),
                hint,
            )
        };
        self.warn(path.to_owned(), message, hint);
    }

    fn resolve_references(&mut self) {
        // Following a reference may add places, and those may refer further.
        let mut next = 0;
        while next < self.references.len() {
            let reference = &self.references[next];
            next += 1;
            let (from, path, dynamic) =
                (reference.from, reference.pointer.clone(), reference.dynamic);
            let found = self.resources.resolve(&reference.text, &reference.base);
            let shown = quote(&reference.text);
            let base = reference.base.clone();
            match found {
                Err(_) => {
                    let message = format!(
                        "the reference {shown} leads out of the schema, and nothing is ever fetched"
                    );
                    self.unsupported(
                        path,
                        message,
                        "a reference into the same schema, such as \"#/definitions/address\"",
                    );
                }
                Ok(None) => {}
                Ok(Some((resource, fragment))) => {
                    let target = match self.resources.anchor(resource, &fragment) {
                        Some(target) => Some(target),
                        None if fragment.is_empty() || fragment.starts_with('/') => {
                            let pointer = format!("{}{fragment}", self.pointers[resource]);
                            let schema = self.schema;
                            schema
                                .pointer(&pointer)
                                .and_then(|value| self.walk(value, &pointer, &base, 0))
                        }
                        None => None,
                    };
                    let Some(target) = target else {
                        let message = format!("the reference {shown} leads nowhere");
                        let accepted = Some("a place that exists in the schema".to_owned());
                        self.problem(ErrorCode::InvalidContract, path, message, accepted, None);
                        continue;
                    };
                    if dynamic {
                        // Which of the anchors is meant depends on the way there, so all are.
                        let targets = self.resources.dynamic_anchors(&fragment);
                        let place = self.place(from);
                        place.any_member.extend(&targets);
                        place.any_item.extend(&targets);
                    } else {
                        let place = self.place(from);
                        place.same.push(target);
                        place.certain.push(target);
                    }
                }
            }
        }
    }
}
