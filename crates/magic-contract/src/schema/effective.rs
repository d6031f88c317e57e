//! A schema as it works on values before or after defaults are filled in, in one plain dialect.
//!
//! Callers meet a schema together with its defaults: whoever sends a value may leave a defaulted
//! member out although it is required, and whoever receives one always finds it. Two schemas can
//! only be compared after that is written into them. The result is 2020-12 whatever the schema was
//! written in, without annotations, with every reference pointing into one flat list of
//! definitions, so that a comparison needs to know neither dialects nor `$id`.
//!
//! Where filling in meets a keyword that counts or lists members, no plain schema says the same.
//! There is no result then, and the comparison says that it could not be made.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::graph::Place;
use super::{Compiled, Dialect, Schema, compile, defaults, keywords, on_deep_stack};
use crate::document::{child, item};

/// The most subschemas of the result. One subschema is written once per set of defaults that reach it.
const MOST_PLACES: usize = 20_000;
/// The work that judging defaults may take, in subschemas compiled.
const JUDGING_BUDGET: usize = 20_000;
/// The steps that filling in one default's own defaults may take.
const FILLING_STEPS: usize = 1_000;

/// Which values a schema is to describe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Those that may be sent: defaults are filled in afterwards.
    Sent,
    /// Those that are received: defaults have been filled in.
    Received,
}

/// A schema with its defaults written into it.
#[derive(Debug)]
pub(crate) struct Effective {
    /// 2020-12, of the form `{ "$ref": "#/$defs/0", "$defs": { "0": ... } }`.
    pub(crate) document: Value,
    /// How many subschemas it has.
    pub(crate) places: usize,
    /// Whether 2020-12 asserts everything that the schema asserts.
    pub(crate) asserted: bool,
}

impl Schema {
    /// Writes the defaults into the schema; nothing if no schema says the same within bounds.
    pub(crate) fn effective(&self, moment: Moment) -> Option<Effective> {
        on_deep_stack(|| {
            let mut translation = Translation::new(&self.compiled, moment);
            let document = translation.document()?;
            Some(Effective {
                document,
                places: translation.places,
                asserted: translation.asserted,
            })
        })?
    }
}

struct Translation<'s> {
    compiled: &'s Compiled,
    moment: Moment,
    by_pointer: HashMap<&'s str, usize>,
    numbers: HashMap<(usize, Vec<usize>), usize>,
    open: Vec<(usize, Vec<usize>)>,
    places: usize,
    judging_left: usize,
    asserted: bool,
}

/// `filling` below is always the places that fill defaults into the value at hand, in the order in
/// which they do.
impl<'s> Translation<'s> {
    fn new(compiled: &'s Compiled, moment: Moment) -> Self {
        let places = compiled.graph.places.iter().enumerate();
        Self {
            compiled,
            moment,
            by_pointer: places
                .map(|(index, place)| (place.pointer.as_str(), index))
                .collect(),
            numbers: HashMap::new(),
            open: Vec::new(),
            places: 0,
            judging_left: JUDGING_BUDGET,
            asserted: true,
        }
    }

    fn document(&mut self) -> Option<Value> {
        let filling = self.filling_from([0]);
        let root = self.reference(0, filling);
        let mut definitions = Map::new();
        let mut next = 0;
        while let Some((index, filling)) = self.open.get(next).cloned() {
            let schema = self.translate(index, &filling)?;
            definitions.insert(next.to_string(), schema);
            next += 1;
        }
        Some(json!({ "$ref": root, "$defs": definitions }))
    }

    fn place(&self, index: usize) -> &'s Place {
        &self.compiled.graph.places[index]
    }

    fn reference(&mut self, index: usize, filling: Vec<usize>) -> Value {
        let open = &mut self.open;
        let number = *self
            .numbers
            .entry((index, filling))
            .or_insert_with_key(|key| {
                open.push(key.clone());
                open.len() - 1
            });
        Value::from(format!("#/$defs/{number}"))
    }

    /// These places and what certainly applies with them, as far as a default can be reached.
    fn filling_from(&self, seeds: impl IntoIterator<Item = usize>) -> Vec<usize> {
        let mut order = Vec::new();
        for seed in seeds {
            self.fill_order(seed, &mut order);
        }
        order
    }

    fn fill_order(&self, index: usize, order: &mut Vec<usize>) {
        let place = self.place(index);
        if !place.reaches_default || order.contains(&index) {
            return;
        }
        for target in &place.certain {
            self.fill_order(*target, order);
        }
        if !order.contains(&index) {
            order.push(index);
        }
    }

    /// The subschema at this keyword of a place.
    fn below(&mut self, pointer: &str, filling: &[usize]) -> Option<Value> {
        let index = *self.by_pointer.get(pointer)?;
        self.translate(index, filling)
    }

    fn translate(&mut self, index: usize, filling: &[usize]) -> Option<Value> {
        self.places += 1;
        if self.places > MOST_PLACES {
            return None;
        }
        let place = self.place(index);
        let keywords = match self.compiled.value.pointer(&place.pointer)? {
            Value::Object(keywords) => keywords,
            other => return Some(other.clone()),
        };
        let older = self.compiled.dialect == Dialect::Draft07;
        let mut written = Map::new();
        let mut conjuncts = Vec::new();
        if keywords.get("$ref").is_some_and(Value::is_string) {
            let all_of = child(&place.pointer, "allOf");
            let own = |target: &&usize| {
                let pointer = &self.place(**target).pointer;
                pointer
                    .rsplit_once('/')
                    .is_some_and(|(parent, _)| parent == all_of)
            };
            // A reference is drawn after the members of `allOf`, so it is the last of its kind.
            let target = *place.certain.last()?;
            if place.certain.iter().filter(|target| !own(target)).count() > 1 {
                return None;
            }
            let reference = json!({ "$ref": self.reference(target, filling.to_vec()) });
            if older {
                return Some(reference);
            }
            conjuncts.push(reference);
        }
        let fills = self.fills(filling);
        for (keyword, value) in keywords {
            self.translate_keyword(index, keyword, value, filling, &mut written, &mut conjuncts)?;
        }
        self.write_required(index, keywords, &fills, filling, &mut written)?;
        if let Some(members) = written.get_mut("allOf").and_then(Value::as_array_mut) {
            members.append(&mut conjuncts);
        } else if written.is_empty() && conjuncts.len() == 1 {
            return conjuncts.pop();
        } else if !conjuncts.is_empty() {
            written.insert("allOf".to_owned(), Value::Array(conjuncts));
        }
        Some(Value::Object(written))
    }

    #[expect(clippy::too_many_lines, reason = "one arm per keyword of JSON Schema")]
    fn translate_keyword(
        &mut self,
        index: usize,
        keyword: &str,
        value: &Value,
        filling: &[usize],
        written: &mut Map<String, Value>,
        conjuncts: &mut Vec<Value>,
    ) -> Option<()> {
        let older = self.compiled.dialect == Dialect::Draft07;
        let place = self.place(index);
        let path = child(&place.pointer, keyword);
        let fills_in = self.moment == Moment::Sent && !filling.is_empty();
        let translated = match (keyword, value) {
            // Written with the members that defaults supply.
            ("required", _) => return Some(()),
            (
                "type" | "multipleOf" | "maximum" | "exclusiveMaximum" | "minimum"
                | "exclusiveMinimum" | "maxLength" | "minLength" | "pattern" | "maxItems"
                | "minItems",
                _,
            ) => value.clone(),
            ("format", _) if value == "password" => return Some(()),
            ("format", _) => value.clone(),
            ("contentMediaType" | "contentEncoding", _) if older => {
                self.asserted = false;
                value.clone()
            }
            // Filling in changes how many members there are, and which values two items have.
            (
                "enum"
                | "const"
                | "maxProperties"
                | "minProperties"
                | "uniqueItems"
                | "dependentRequired"
                | "dependentSchemas"
                | "dependencies"
                | "propertyNames"
                | "patternProperties"
                | "unevaluatedProperties"
                | "unevaluatedItems",
                _,
            ) if fills_in => return None,
            ("enum" | "const" | "maxProperties" | "minProperties" | "uniqueItems", _) => {
                value.clone()
            }
            ("not", _) | ("if" | "then" | "else", _) => self.below(&path, filling)?,
            ("allOf" | "anyOf" | "oneOf", Value::Array(list)) => {
                self.list(&path, list.len(), filling)?
            }
            ("properties", Value::Object(members)) => {
                let mut properties = Map::new();
                for name in members.keys() {
                    let inner = self.member_filling(name, filling);
                    properties.insert(name.clone(), self.below(&child(&path, name), &inner)?);
                }
                Value::Object(properties)
            }
            ("additionalProperties", _) => {
                let inner = self.additional_filling(index, filling, value)?;
                self.below(&path, &inner)?
            }
            ("patternProperties", Value::Object(members)) => self.map(&path, members)?,
            ("propertyNames" | "unevaluatedProperties" | "unevaluatedItems", _)
                if keywords::is_known(keyword, self.compiled.dialect) =>
            {
                self.below(&path, &[])?
            }
            ("items", Value::Array(list)) if older => {
                if !filling.is_empty() {
                    return None;
                }
                let first = self.list(&path, list.len(), &[])?;
                written.insert("prefixItems".to_owned(), first);
                return Some(());
            }
            ("items", _) => {
                let inner = self.item_filling(filling)?;
                self.below(&path, &inner)?
            }
            ("additionalItems", _) if older => {
                let parent = self.compiled.value.pointer(&place.pointer)?;
                if parent.get("items").is_some_and(Value::is_array) {
                    let rest = self.below(&path, &[])?;
                    written.insert("items".to_owned(), rest);
                }
                return Some(());
            }
            ("additionalItems", _) => return None,
            ("prefixItems", Value::Array(list)) if !older => {
                if !filling.is_empty() {
                    return None;
                }
                self.list(&path, list.len(), &[])?
            }
            ("contains", _) => {
                let inner = self.item_filling(filling)?;
                self.below(&path, &inner)?
            }
            ("minContains" | "maxContains" | "dependentRequired", _) if !older => value.clone(),
            ("dependentSchemas", Value::Object(members)) if !older => self.map(&path, members)?,
            ("dependencies", Value::Object(members)) => {
                let dependencies = self.dependencies(&path, members)?;
                conjuncts.push(dependencies);
                return Some(());
            }
            ("$dynamicRef", _) if !older => return None,
            // Annotations, definitions, and words that are no keywords.
            _ => return Some(()),
        };
        written.insert(keyword.to_owned(), translated);
        Some(())
    }

    fn list(&mut self, path: &str, length: usize, filling: &[usize]) -> Option<Value> {
        (0..length)
            .map(|number| self.below(&item(path, number), filling))
            .collect()
    }

    fn map(&mut self, path: &str, members: &Map<String, Value>) -> Option<Value> {
        let mut map = Map::new();
        for name in members.keys() {
            map.insert(name.clone(), self.below(&child(path, name), &[])?);
        }
        Some(Value::Object(map))
    }

    fn dependencies(&mut self, path: &str, members: &Map<String, Value>) -> Option<Value> {
        let (mut required, mut schemas) = (Map::new(), Map::new());
        for (name, value) in members {
            if value.is_array() {
                required.insert(name.clone(), value.clone());
            } else {
                schemas.insert(name.clone(), self.below(&child(path, name), &[])?);
            }
        }
        Some(json!({ "dependentRequired": required, "dependentSchemas": schemas }))
    }

    /// The members that these places supply, and what they supply.
    fn fills(&self, filling: &[usize]) -> Vec<(&'s str, &'s Value)> {
        let mut fills: Vec<(&str, &Value)> = Vec::new();
        for index in filling {
            for (name, target) in &self.place(*index).properties {
                if let Some(default) = self.compiled.graph.default_of(*target)
                    && !fills.iter().any(|(known, _)| known == name)
                {
                    fills.push((name, default));
                }
            }
        }
        fills
    }

    fn member_filling(&self, name: &str, filling: &[usize]) -> Vec<usize> {
        let seeds = filling.iter().filter_map(|index| {
            let place = self.place(*index);
            let named = place.properties.iter().find(|(known, _)| known == name);
            let additional = place.additional.filter(|_| place.any_member.is_empty());
            named.map(|(_, target)| *target).or(additional)
        });
        self.filling_from(seeds)
    }

    /// What fills defaults into the members that a place does not name; nothing if that differs
    /// from name to name.
    fn additional_filling(
        &self,
        index: usize,
        filling: &[usize],
        value: &Value,
    ) -> Option<Vec<usize>> {
        let own = self.place(index);
        let reaches = |target: &usize| self.place(*target).reaches_default;
        let is_named = |name: &String| own.properties.iter().any(|(known, _)| known == name);
        for other in filling.iter().filter(|other| **other != index) {
            let other = self.place(*other);
            let elsewhere = other
                .properties
                .iter()
                .any(|(name, target)| reaches(target) && !is_named(name));
            let anything = value == &Value::Bool(true);
            if !anything && (elsewhere || other.additional.as_ref().is_some_and(reaches)) {
                return None;
            }
        }
        let filled = filling.contains(&index) && own.any_member.is_empty();
        Some(self.filling_from(own.additional.filter(|_| filled)))
    }

    /// What fills defaults into every item; nothing if that differs from item to item.
    fn item_filling(&self, filling: &[usize]) -> Option<Vec<usize>> {
        let places = || filling.iter().map(|index| self.place(*index));
        if places().any(|place| !place.first_items.is_empty()) {
            return None;
        }
        Some(self.filling_from(places().filter_map(|place| place.items)))
    }

    fn write_required(
        &mut self,
        index: usize,
        keywords: &Map<String, Value>,
        fills: &[(&str, &Value)],
        filling: &[usize],
        written: &mut Map<String, Value>,
    ) -> Option<()> {
        let listed = keywords
            .get("required")
            .and_then(Value::as_array)
            .into_iter();
        let mut required: Vec<String> = listed
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        let own = self.place(index);
        match self.moment {
            Moment::Sent => {
                required.retain(|name| !fills.iter().any(|(filled, _)| filled == name));
                for (name, default) in fills {
                    let Some((_, target)) = own.properties.iter().find(|(known, _)| known == name)
                    else {
                        continue;
                    };
                    let inner = self.member_filling(name, filling);
                    if !self.is_valid_default(*target, &inner, default)? {
                        required.push((*name).to_owned());
                    }
                }
            }
            Moment::Received if filling.contains(&index) => {
                for (name, _) in self.fills(&[index]) {
                    if !required.iter().any(|known| known == name) {
                        required.push(name.to_owned());
                    }
                }
            }
            Moment::Received => {}
        }
        if !required.is_empty() {
            written.insert("required".to_owned(), Value::from(required));
        }
        Some(())
    }

    /// Whether a default, with its own defaults filled in, is valid where it is put.
    fn is_valid_default(
        &mut self,
        target: usize,
        filling: &[usize],
        default: &Value,
    ) -> Option<bool> {
        let mut value = default.clone();
        for index in filling {
            // Defaults that need more steps or room than this are not compared.
            defaults::apply_at(&self.compiled.graph, *index, &mut value, FILLING_STEPS).ok()?;
        }
        let place = self.place(target);
        let part = self.compiled.value.pointer(&place.pointer)?;
        let cost = if refers(part) {
            self.compiled.graph.places.len()
        } else {
            1 + place.properties.len()
        };
        self.judging_left = self.judging_left.checked_sub(cost)?;
        let dialect = self.compiled.dialect;
        if !refers(part) {
            return Some(compile::build(part, dialect).ok()?.is_valid(&value));
        }
        // The whole schema is needed for what the part refers to.
        let mut whole = self.compiled.value.as_object()?.clone();
        if whole.contains_key("$id") {
            return None;
        }
        whole.insert("$id".to_owned(), json!("magic:schema"));
        let pointer = percent_encoded(&place.pointer);
        let wrapped = json!({
            "$ref": format!("magic:schema#{pointer}"),
            "definitions": { "whole": whole },
        });
        Some(compile::build(&wrapped, dialect).ok()?.is_valid(&value))
    }
}

/// Whether anything in this value looks like a reference.
fn refers(value: &Value) -> bool {
    match value {
        Value::Object(members) => members
            .iter()
            .any(|(name, value)| name.starts_with('$') || refers(value)),
        Value::Array(items) => items.iter().any(refers),
        _ => false,
    }
}

/// A JSON Pointer as the fragment of a URI.
fn percent_encoded(pointer: &str) -> String {
    let mut fragment = String::with_capacity(pointer.len());
    for byte in pointer.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            fragment.push(char::from(byte));
        } else {
            fragment.push_str(&format!("%{byte:02X}"));
        }
    }
    fragment
}
