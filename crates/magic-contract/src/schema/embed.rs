//! A schema as a part of another document, such as an API description.
//!
//! Moved into another document, a schema's references would lead to other places and its dialect would be the document's. So it is
//! rewritten into 2020-12, which API descriptions speak, with references that begin at the place where it will stand, and without
//! identifiers, which might be another schema's too. What takes an identifier of its own to say is not embedded: [`embed`] gives
//! nothing then, and the description has to say less instead of something else.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::Dialect;
use super::keywords::{Applies, applies};

/// What remains beside a `$ref` in draft-07, where everything that asserts is ignored there: annotations, and definitions, which
/// other references may lead to.
const BESIDE_REFERENCE: &[&str] = &["$comment", "title", "description", "definitions", "$defs"];

/// Rewrites a schema for the place that the JSON Pointer `place` names, which begins with `#/`. The result is 2020-12 and accepts the
/// same values. `None` if it cannot be said there: it uses dynamic references, identified parts, or refers to a metaschema.
#[must_use]
pub fn embed(schema: &Value, dialect: Dialect, place: &str) -> Option<Value> {
    let mut anchors = HashMap::new();
    let mut path = String::new();
    collect_anchors(schema, dialect, &mut path, &mut anchors)?;
    let embedding = Embedding {
        root: schema,
        dialect,
        place,
        anchors,
    };
    let written = embedding.schema(schema)?;
    embedding.references_lead_somewhere(&written, &written)?;
    Some(written)
}

struct Embedding<'a> {
    root: &'a Value,
    dialect: Dialect,
    place: &'a str,
    /// Anchors, and the pointers of what they name.
    anchors: HashMap<String, String>,
}

impl Embedding<'_> {
    fn schema(&self, schema: &Value) -> Option<Value> {
        let Value::Object(keywords) = schema else {
            return Some(schema.clone());
        };
        let older = self.dialect == Dialect::Draft07;
        let alone = older && keywords.contains_key("$ref");
        let listed = older && keywords.get("items").is_some_and(Value::is_array);
        let mut written = Map::new();
        for (keyword, value) in keywords {
            match keyword.as_str() {
                "$schema" | "$id" | "$anchor" => {}
                "$dynamicRef" | "$dynamicAnchor" | "$vocabulary" => return None,
                "$ref" => {
                    let target = self.reference(value.as_str()?)?;
                    written.insert("$ref".to_owned(), Value::String(target));
                }
                other if alone && !BESIDE_REFERENCE.contains(&other) => {}
                "items" if listed => {
                    written.insert("prefixItems".to_owned(), self.list(value)?);
                }
                "additionalItems" if listed => {
                    written.insert("items".to_owned(), self.schema(value)?);
                }
                "additionalItems" if older => {}
                "dependencies" if older => self.dependencies(value, &mut written)?,
                other => {
                    let value = match applies(other, self.dialect) {
                        None => value.clone(),
                        Some(applies) => self.applied(applies, value)?,
                    };
                    written.insert(keyword.clone(), value);
                }
            }
        }
        Some(Value::Object(written))
    }

    fn applied(&self, applies: Applies, value: &Value) -> Option<Value> {
        match applies {
            Applies::SameList { .. } | Applies::FirstItems => self.list(value),
            Applies::SameMap
            | Applies::Definitions
            | Applies::Properties
            | Applies::PatternProperties => self.map(value),
            Applies::Same
            | Applies::Additional
            | Applies::AnyMember
            | Applies::Names
            | Applies::Items
            | Applies::AnyItem => self.schema(value),
        }
    }

    fn list(&self, value: &Value) -> Option<Value> {
        let items = value.as_array()?.iter().map(|one| self.schema(one));
        items.collect::<Option<Vec<_>>>().map(Value::Array)
    }

    fn map(&self, value: &Value) -> Option<Value> {
        let members = value.as_object()?.iter();
        let members = members.map(|(name, one)| Some((name.clone(), self.schema(one)?)));
        members.collect::<Option<Map<_, _>>>().map(Value::Object)
    }

    /// What 2020-12 has two keywords for.
    fn dependencies(&self, value: &Value, written: &mut Map<String, Value>) -> Option<()> {
        for (name, needed) in value.as_object()? {
            let (keyword, needed) = match needed {
                Value::Array(_) => ("dependentRequired", needed.clone()),
                schema => ("dependentSchemas", self.schema(schema)?),
            };
            written
                .entry(keyword)
                .or_insert_with(|| Value::Object(Map::new()))
                .as_object_mut()?
                .insert(name.clone(), needed);
        }
        Some(())
    }

    /// A reference as it is written at the new place.
    fn reference(&self, reference: &str) -> Option<String> {
        let fragment = reference.strip_prefix('#')?;
        let pointer = match fragment {
            "" => return Some(self.place.to_owned()),
            pointer if pointer.starts_with('/') => pointer,
            anchor => self.anchors.get(anchor)?,
        };
        let mut at = self.root;
        let mut written = self.place.to_owned();
        for token in pointer[1..].split('/') {
            // Percent-encoded names stay as they are in the result, and are looked up decoded.
            let name = super::references::decode(token)?
                .replace("~1", "/")
                .replace("~0", "~");
            let older = self.dialect == Dialect::Draft07;
            let listed = older && at.get("items").is_some_and(Value::is_array);
            let next = match at {
                Value::Array(items) => items.get(name.parse::<usize>().ok()?)?,
                other => other.get(&name)?,
            };
            let renamed = match name.as_str() {
                "items" if listed => "prefixItems",
                "additionalItems" if listed => "items",
                "dependencies" if older => "dependentSchemas",
                _ => token,
            };
            written.push('/');
            written.push_str(renamed);
            at = next;
        }
        Some(written)
    }

    /// Whether what was left out is referred to.
    fn references_lead_somewhere(&self, whole: &Value, part: &Value) -> Option<()> {
        match part {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    let pointer = reference.strip_prefix(self.place)?;
                    whole.pointer(&super::references::decode(pointer)?)?;
                }
                let mut values = members
                    .iter()
                    .filter(|(name, _)| {
                        !matches!(name.as_str(), "const" | "enum" | "default" | "examples")
                    })
                    .map(|(_, value)| value);
                values.try_for_each(|value| self.references_lead_somewhere(whole, value))
            }
            Value::Array(items) => items
                .iter()
                .try_for_each(|value| self.references_lead_somewhere(whole, value)),
            _ => Some(()),
        }
    }
}

/// Finds anchors; an identifier below the root gives nothing, since it starts a resource of its own.
fn collect_anchors(
    schema: &Value,
    dialect: Dialect,
    path: &mut String,
    anchors: &mut HashMap<String, String>,
) -> Option<()> {
    let Value::Object(keywords) = schema else {
        return Some(());
    };
    let text = |name: &str| keywords.get(name).and_then(Value::as_str);
    let ignored = dialect == Dialect::Draft07 && keywords.contains_key("$ref");
    if let Some(id) = text("$id").filter(|_| !ignored) {
        match id.strip_prefix('#') {
            Some(anchor) => drop(anchors.insert(anchor.to_owned(), path.clone())),
            None if path.is_empty() => {}
            None => return None,
        }
    }
    if let Some(anchor) = text("$anchor") {
        anchors.insert(anchor.to_owned(), path.clone());
    }
    for (keyword, value) in keywords {
        let Some(applies) = applies(keyword, dialect) else {
            continue;
        };
        let length = path.len();
        path.push('/');
        path.push_str(keyword);
        match (applies, value) {
            (
                Applies::SameMap
                | Applies::Definitions
                | Applies::Properties
                | Applies::PatternProperties,
                Value::Object(members),
            ) => {
                for (name, one) in members {
                    let length = path.len();
                    path.push('/');
                    path.push_str(&encoded(name));
                    collect_anchors(one, dialect, path, anchors)?;
                    path.truncate(length);
                }
            }
            (_, Value::Array(items)) => {
                for (number, one) in items.iter().enumerate() {
                    let length = path.len();
                    path.push('/');
                    path.push_str(&number.to_string());
                    collect_anchors(one, dialect, path, anchors)?;
                    path.truncate(length);
                }
            }
            _ => collect_anchors(value, dialect, path, anchors)?,
        }
        path.truncate(length);
    }
    Some(())
}

/// A name as a token of a JSON Pointer in a URI's fragment.
fn encoded(name: &str) -> String {
    name.replace('~', "~0")
        .replace('/', "~1")
        .replace('%', "%25")
}

#[cfg(test)]
mod tests;
