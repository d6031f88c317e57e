//! Names the fields of which one schema does not keep the promise of another.
//!
//! The walk proves, keyword by keyword, that everything the narrow schema accepts is accepted by
//! the wide one, and reports where it cannot. So a gap in its knowledge reports too much and never
//! too little. What the rules here cannot prove about one place is asked of the engine.
//!
//! The narrow side is always a conjunction: all parts that apply to one value (`allOf`, `$ref`).
//! Recursive schemas end because a pair that is being compared already is taken as proven: every
//! way around leads deeper into the value.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::facts::{self, Types};
use super::words::{demand, demanded, member, unproven};
use super::{Breakage, Side, Whom, proof};
use crate::violation::describe;

mod members;

/// The most comparisons of one walk.
const MOST_STEPS: usize = 20_000;
/// The most questions to the engine. Each costs as much as the whole schemas are large.
const MOST_PROOFS: usize = 4;
/// The most breakages that are collected.
const MOST_FOUND: usize = 200;
/// How deep `anyOf` within `anyOf` is looked into.
const DEEPEST_CHOICE: usize = 2;

/// How many values of one `enum` are named.
const SHOWN_VALUES: usize = 5;

/// A conjunction, by the addresses of its parts, against one part of the wide schema.
type Pair = (Vec<usize>, usize);

pub(super) struct Walk<'d> {
    side: Side,
    narrow: &'d Map<String, Value>,
    wide: &'d Map<String, Value>,
    askable: bool,
    steps_left: usize,
    proofs_left: usize,
    assumed: HashSet<Pair>,
    log: Vec<Pair>,
    found: Vec<Breakage>,
    is_attempt: bool,
    /// Whether a new field was let pass where the old contract merely tolerated any.
    pub(super) lenient: bool,
}

type Parts<'d> = Vec<&'d Value>;

impl<'d> Walk<'d> {
    /// Both documents have the form that [`crate::schema::Effective`] describes.
    pub(super) fn new(
        side: Side,
        narrow: &'d Value,
        wide: &'d Value,
        askable: bool,
    ) -> Option<Self> {
        Some(Self {
            side,
            narrow: facts::object(narrow, "$defs")?,
            wide: facts::object(wide, "$defs")?,
            askable,
            steps_left: MOST_STEPS,
            proofs_left: MOST_PROOFS,
            assumed: HashSet::new(),
            log: Vec::new(),
            found: Vec::new(),
            is_attempt: false,
            lenient: false,
        })
    }

    /// Compares both documents from their roots.
    pub(super) fn run(&mut self, narrow: &'d Value, wide: &'d Value) -> Vec<Breakage> {
        let root = |document: &'d Value| document.get("$ref").and_then(Value::as_str);
        let (Some(from), Some(to)) = (root(narrow), root(wide)) else {
            return Vec::new();
        };
        let mut parts = Vec::new();
        flatten(self.narrow, target(self.narrow, from), &mut parts);
        self.compare(&parts, target(self.wide, to), "");
        std::mem::take(&mut self.found)
    }

    fn report(&mut self, path: &str, change: String, whom: Whom) {
        let breakage = Breakage {
            side: self.side,
            field: path.to_owned(),
            change,
            whom,
        };
        if self.found.len() < MOST_FOUND && !self.found.contains(&breakage) {
            self.found.push(breakage);
        }
    }

    /// Reports with the people that the side has.
    fn say(&mut self, path: &str, change: String) {
        let whom = match self.side {
            Side::Input => Whom::CallersWhoSend,
            Side::Output => Whom::CallersWhoRead,
        };
        self.report(path, change, whom);
    }

    fn compare(&mut self, narrow: &[&'d Value], wide: &'d Value, path: &str) {
        if narrow.contains(&&Value::Bool(false)) {
            return;
        }
        let mut parts = Vec::new();
        flatten(self.wide, wide, &mut parts);
        let mut key: Vec<usize> = narrow.iter().map(|part| address(part)).collect();
        key.sort_unstable();
        for part in parts {
            let pair = (key.clone(), address(part));
            if !self.assumed.insert(pair.clone()) {
                continue;
            }
            self.log.push(pair);
            let Some(left) = self.steps_left.checked_sub(1 + narrow.len()) else {
                self.steps_left = 0;
                self.say(path, "is too large a schema to be compared".to_owned());
                return;
            };
            self.steps_left = left;
            let before = self.found.len();
            let is_shaken = self.compare_part(narrow, part, path);
            if is_shaken && self.found.len() > before && self.is_proven(narrow, part) {
                self.found.truncate(before);
            }
        }
    }

    /// Whether the comparison succeeds. Nothing is reported.
    fn succeeds(&mut self, narrow: &[&'d Value], wide: &'d Value) -> bool {
        let (before, logged, lenient) = (self.found.len(), self.log.len(), self.lenient);
        if before >= MOST_FOUND {
            return false;
        }
        let proofs = std::mem::take(&mut self.proofs_left);
        let was_attempt = std::mem::replace(&mut self.is_attempt, true);
        self.compare(narrow, wide, "\u{0}");
        self.is_attempt = was_attempt;
        self.proofs_left = proofs;
        let succeeded = self.found.len() == before;
        if !succeeded {
            // What rests on this attempt is not proven.
            self.found.truncate(before);
            for pair in self.log.drain(logged..) {
                self.assumed.remove(&pair);
            }
            self.lenient = lenient;
        }
        succeeded
    }

    fn is_proven(&mut self, narrow: &[&'d Value], wide: &'d Value) -> bool {
        if !self.askable || self.proofs_left == 0 {
            return false;
        }
        self.proofs_left -= 1;
        let narrow = json!({ "allOf": narrow, "$defs": self.narrow });
        let wide = json!({ "allOf": [wide], "$defs": self.wide });
        proof::covers(&wide, &narrow) == Some(true)
    }

    /// Compares with one part of the wide schema. Whether this place itself, and not only a place
    /// below it, fell short.
    fn compare_part(&mut self, narrow: &[&'d Value], wide: &'d Value, path: &str) -> bool {
        let Some(keywords) = wide.as_object() else {
            // `true` is never a part, so this is `false`.
            let change = match self.side {
                Side::Input => "is not accepted any more",
                Side::Output => "can be there now, which the old contract ruled out",
            };
            self.say(path, change.to_owned());
            return true;
        };
        let types = self.types(narrow, DEEPEST_CHOICE);
        if types.is_none() || narrow.iter().any(|part| self.is_same(part, wide)) {
            return false;
        }
        let before = self.found.len();
        if let Some(accepted) = keywords.get("type") {
            self.compare_types(types, Types::named(accepted), path);
        }
        for (keyword, value) in keywords {
            if !is_implied(keyword, value, narrow, types) {
                self.compare_values(keyword, value, narrow, types, path);
            }
        }
        self.compare_choices(narrow, keywords, path);
        if types.meets(Types::OBJECT) {
            self.compare_required(narrow, wide, path);
        }
        let is_shaken = self.found.len() > before;
        let shaken_below = if types.meets(Types::OBJECT) {
            self.compare_members(narrow, wide, path)
        } else {
            false
        };
        let shaken_items = types.meets(Types::ARRAY) && self.compare_items(narrow, wide, path);
        is_shaken || shaken_below || shaken_items
    }

    fn compare_types(&mut self, given: Types, accepted: Types, path: &str) {
        for (one, many) in given.without(accepted).words() {
            let change = match self.side {
                Side::Input => format!("does not accept {many} any more"),
                Side::Output => format!("can be {one} now"),
            };
            self.say(path, change);
        }
    }

    /// Says what a keyword without schemas asks for that did not hold before.
    fn compare_values(
        &mut self,
        keyword: &str,
        value: &Value,
        narrow: &[&'d Value],
        types: Types,
        path: &str,
    ) {
        let given = facts::listed(narrow).filter(|_| matches!(keyword, "enum" | "const"));
        let Some(given) = given else {
            self.say(path, demanded(self.side, &demand(keyword, value)));
            return;
        };
        let accepted: Vec<&Value> = match value {
            Value::Array(values) if keyword == "enum" => values.iter().collect(),
            single => vec![single],
        };
        let lost = given
            .into_iter()
            .filter(|value| types.meets(Types::of(value)) && !accepted.contains(value));
        for value in lost.take(SHOWN_VALUES) {
            let shown = describe(value, false);
            let change = match self.side {
                Side::Input => format!("does not accept {shown} any more"),
                Side::Output => format!("can be {shown} now"),
            };
            self.say(path, change);
        }
    }

    fn compare_items(&mut self, narrow: &[&'d Value], wide: &'d Value, path: &str) -> bool {
        let before = self.found.len();
        let first = facts::list(wide, "prefixItems");
        let rest = wide.get("items");
        let longest = narrow
            .iter()
            .map(|part| facts::list(part, "prefixItems").len());
        let positions = longest.max().unwrap_or(0).max(first.len());
        let most = facts::smallest(narrow, "maxItems");
        for position in 0..positions {
            let is_reached =
                most.is_none_or(|most| u64::try_from(position).is_ok_and(|at| at < most));
            if let Some(schema) = first.get(position).or(rest)
                && is_reached
            {
                let parts = self.item_parts(narrow, position);
                self.compare(&parts, schema, &format!("{path}[{position}]"));
            }
        }
        let is_reached = most.is_none_or(|most| u64::try_from(positions).is_ok_and(|at| at < most));
        if let Some(schema) = rest
            && is_reached
        {
            let parts = self.item_parts(narrow, positions);
            self.compare(&parts, schema, &format!("{path}[]"));
        }
        // The engine may know better about lists of fixed shape.
        self.found.len() > before && positions > 0
    }

    fn item_parts(&self, narrow: &[&'d Value], position: usize) -> Parts<'d> {
        let mut parts = Vec::new();
        for part in narrow {
            let first = facts::list(part, "prefixItems").get(position);
            if let Some(schema) = first.or_else(|| part.get("items")) {
                flatten(self.narrow, schema, &mut parts);
            }
        }
        parts
    }

    /// The keywords that choose between schemas, or apply one to something else than a member.
    fn compare_choices(&mut self, narrow: &[&'d Value], wide: &'d Map<String, Value>, path: &str) {
        for (keyword, value) in wide {
            let is_kept = match keyword.as_str() {
                "anyOf" => self.is_some_branch_implied(narrow, value, DEEPEST_CHOICE),
                "if" => self.is_group_kept(narrow, wide, &["if", "then", "else"]),
                "contains" => {
                    self.is_group_kept(narrow, wide, &["contains", "minContains", "maxContains"])
                }
                "oneOf" | "not" | "propertyNames" | "dependentSchemas" => {
                    self.is_group_kept(narrow, wide, &[keyword])
                }
                "dependentRequired" => self.are_dependents_required(narrow, value),
                // What these apply to depends on everything beside them, and an unchanged place was
                // recognized before.
                "unevaluatedProperties" | "unevaluatedItems" => value == &Value::Bool(true),
                _ => true,
            };
            if !is_kept {
                self.say(path, unproven(keyword));
            }
        }
    }

    fn is_group_kept(
        &self,
        narrow: &[&'d Value],
        wide: &Map<String, Value>,
        group: &[&str],
    ) -> bool {
        narrow.iter().any(|part| {
            group
                .iter()
                .all(|word| self.is_same_option(part.get(word), wide.get(*word)))
        })
    }

    fn are_dependents_required(&self, narrow: &[&'d Value], wide: &Value) -> bool {
        let lists = |name: &str, value: &Value| {
            narrow.iter().any(|part| {
                let dependents = facts::object(part, "dependentRequired");
                let same = dependents.and_then(|map| map.get(name)?.as_array());
                same.is_some_and(|names| names.contains(value))
                    || facts::list(part, "required").contains(value)
            })
        };
        wide.as_object().into_iter().flatten().all(|(name, names)| {
            let mut names = names.as_array().into_iter().flatten();
            names.all(|value| value == name || lists(name, value))
        })
    }

    fn is_some_branch_implied(
        &mut self,
        narrow: &[&'d Value],
        branches: &'d Value,
        depth: usize,
    ) -> bool {
        if self.steps_left == 0 {
            return false;
        }
        let kept = narrow.iter().any(|part| {
            part.get("anyOf")
                .is_some_and(|own| self.is_same(own, branches))
        });
        if kept {
            return true;
        }
        let branches_of_wide = branches.as_array().map_or(&[][..], Vec::as_slice);
        if branches_of_wide
            .iter()
            .any(|branch| self.succeeds(narrow, branch))
        {
            return true;
        }
        let Some(depth) = depth.checked_sub(1) else {
            return false;
        };
        // Or every way through the narrow schema leads into some branch.
        for part in narrow.iter().copied() {
            for word in ["anyOf", "oneOf"] {
                let own = facts::list(part, word);
                let covered = !own.is_empty()
                    && own.iter().all(|branch| {
                        let mut with: Parts<'d> = narrow
                            .iter()
                            .copied()
                            .filter(|other| !std::ptr::eq(*other, part))
                            .collect();
                        flatten(self.narrow, branch, &mut with);
                        with.contains(&&Value::Bool(false))
                            || self.is_some_branch_implied(&with, branches, depth)
                    });
                if covered {
                    return true;
                }
            }
        }
        false
    }

    /// The types that values of the conjunction can have, at most.
    fn types(&mut self, narrow: &[&'d Value], depth: usize) -> Types {
        let mut types = Types::ALL;
        for part in narrow {
            if let Some(named) = part.get("type") {
                types = types.and(Types::named(named));
            }
            for word in ["anyOf", "oneOf"] {
                let branches = facts::list(part, word);
                let affordable = self.steps_left > branches.len();
                if branches.is_empty() || depth == 0 || !affordable {
                    continue;
                }
                self.steps_left -= branches.len();
                let either = branches.iter().fold(Types::NONE, |all, branch| {
                    let mut parts = Vec::new();
                    flatten(self.narrow, branch, &mut parts);
                    all.or(self.types(&parts, depth - 1))
                });
                types = types.and(either);
            }
            if *part == &Value::Bool(false) {
                types = Types::NONE;
            }
        }
        if let Some(values) = facts::listed(narrow) {
            let listed = values
                .iter()
                .fold(Types::NONE, |all, value| all.or(Types::of(value)));
            types = types.and(listed);
        }
        types
    }

    fn is_same_option(&self, narrow: Option<&Value>, wide: Option<&Value>) -> bool {
        match (narrow, wide) {
            (Some(narrow), Some(wide)) => self.is_same(narrow, wide),
            (None, None) => true,
            _ => false,
        }
    }

    /// Whether two schemas, or parts of schemas, are written alike down to what they refer to.
    fn is_same(&self, narrow: &Value, wide: &Value) -> bool {
        let mut sameness = Sameness {
            narrow: self.narrow,
            wide: self.wide,
            seen: HashSet::new(),
            steps_left: 2_000,
        };
        sameness.holds(narrow, wide)
    }
}

struct Sameness<'d> {
    narrow: &'d Map<String, Value>,
    wide: &'d Map<String, Value>,
    seen: HashSet<(String, String)>,
    steps_left: usize,
}

impl Sameness<'_> {
    fn holds(&mut self, narrow: &Value, wide: &Value) -> bool {
        let Some(left) = self.steps_left.checked_sub(1) else {
            return false;
        };
        self.steps_left = left;
        match (narrow, wide) {
            (Value::Object(one), Value::Object(other)) => {
                one.len() == other.len()
                    && one.iter().all(|(name, value)| {
                        let Some(beside) = other.get(name) else {
                            return false;
                        };
                        match (name.as_str(), value, beside) {
                            ("$ref", Value::String(from), Value::String(to)) => {
                                self.refer_to_the_same(from, to)
                            }
                            _ => self.holds(value, beside),
                        }
                    })
            }
            (Value::Array(one), Value::Array(other)) => {
                one.len() == other.len()
                    && one
                        .iter()
                        .zip(other)
                        .all(|(one, other)| self.holds(one, other))
            }
            _ => narrow == wide,
        }
    }

    fn refer_to_the_same(&mut self, from: &str, to: &str) -> bool {
        let (narrow, wide) = (self.narrow, self.wide);
        !self.seen.insert((from.to_owned(), to.to_owned()))
            || self.holds(target(narrow, from), target(wide, to))
    }
}

/// What a reference of a document means.
fn target<'d>(definitions: &'d Map<String, Value>, reference: &str) -> &'d Value {
    let name = reference.strip_prefix("#/$defs/").unwrap_or_default();
    definitions.get(name).unwrap_or(&Value::Bool(true))
}

/// Adds the parts of a schema that all apply to the same value, each once.
fn flatten<'d>(definitions: &'d Map<String, Value>, schema: &'d Value, parts: &mut Parts<'d>) {
    let keywords = match schema {
        Value::Bool(true) => return,
        Value::Object(keywords) => keywords,
        _ => return parts.push(schema),
    };
    if let Some(Value::String(reference)) = keywords.get("$ref") {
        flatten(definitions, target(definitions, reference), parts);
        return;
    }
    if keywords.is_empty() || parts.iter().any(|known| std::ptr::eq(*known, schema)) {
        return;
    }
    parts.push(schema);
    for inner in facts::list(schema, "allOf") {
        flatten(definitions, inner, parts);
    }
}

fn address(value: &Value) -> usize {
    std::ptr::from_ref(value).addr()
}

/// Whether the narrow side asks for this much or more, for keywords that hold no schema.
fn is_implied(keyword: &str, value: &Value, narrow: &[&Value], types: Types) -> bool {
    let is_written = || narrow.iter().any(|part| part.get(keyword) == Some(value));
    let at_least = |word: &str| {
        facts::whole(value).is_some_and(|least| {
            least == 0 || facts::largest(narrow, word).is_some_and(|given| given >= least)
        })
    };
    let at_most = |word: &str| {
        facts::whole(value)
            .is_some_and(|most| facts::smallest(narrow, word).is_some_and(|given| given <= most))
    };
    let number = value.as_number();
    let vacuous = |concerned: Types| !types.meets(concerned);
    match keyword {
        "enum" | "const" => {
            let accepted = match value {
                Value::Array(values) if keyword == "enum" => values.iter().collect(),
                single => vec![single],
            };
            let given = facts::listed(narrow);
            given.is_some_and(|values| {
                let known: HashSet<String> = accepted.iter().map(ToString::to_string).collect();
                values
                    .iter()
                    .all(|value| known.contains(&value.to_string()))
            })
        }
        "minimum" | "exclusiveMinimum" => {
            vacuous(Types::NUMBER)
                || number.is_some_and(|bound| {
                    facts::is_bounded_below(narrow, bound, keyword == "exclusiveMinimum")
                })
        }
        "maximum" | "exclusiveMaximum" => {
            vacuous(Types::NUMBER)
                || number.is_some_and(|bound| {
                    facts::is_bounded_above(narrow, bound, keyword == "exclusiveMaximum")
                })
        }
        "multipleOf" => {
            let divides = |part: &&Value| {
                let given = part.get("multipleOf").and_then(Value::as_u64);
                let divisor = value.as_u64().filter(|divisor| *divisor > 0);
                given
                    .zip(divisor)
                    .is_some_and(|(given, divisor)| given % divisor == 0)
            };
            vacuous(Types::NUMBER) || is_written() || narrow.iter().any(divides)
        }
        "minLength" => vacuous(Types::STRING) || at_least(keyword),
        "maxLength" => vacuous(Types::STRING) || at_most(keyword),
        "minItems" => vacuous(Types::ARRAY) || at_least(keyword),
        "maxItems" => vacuous(Types::ARRAY) || at_most(keyword),
        "minProperties" => {
            let required = narrow
                .iter()
                .map(|part| facts::list(part, "required").len());
            let required = required.max().unwrap_or(0);
            let enough = facts::whole(value)
                .is_some_and(|least| u64::try_from(required).is_ok_and(|given| given >= least));
            vacuous(Types::OBJECT) || enough || at_least(keyword)
        }
        "maxProperties" => vacuous(Types::OBJECT) || at_most(keyword),
        "uniqueItems" => {
            let short = facts::smallest(narrow, "maxItems").is_some_and(|most| most <= 1);
            vacuous(Types::ARRAY) || value != &Value::Bool(true) || short || is_written()
        }
        "pattern" | "format" | "contentEncoding" | "contentMediaType" => {
            vacuous(Types::STRING) || is_written()
        }
        _ => true,
    }
}
