//! Where references lead: the identified resources and anchors of one schema.
//!
//! The validator resolves references itself. This second resolution exists to *refuse* what leads
//! out of the document with a message that names the place, and to know the schema's cycles.

use std::collections::HashMap;

use jsonschema::{Uri, uri};
use serde_json::{Map, Value};

use super::Dialect;

/// The base of a schema that has no identifier of its own.
const ROOT: &str = "json-schema:///";

/// The absolute identifier that references are relative to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Base(String);

impl Base {
    pub(super) fn root() -> Self {
        Self(ROOT.to_owned())
    }
}

/// The reference leads out of the document.
#[derive(Debug)]
pub(super) struct Outside;

/// Identifiers and anchors, each with the place that it means.
#[derive(Debug, Default)]
pub(super) struct Resources {
    places: HashMap<String, usize>,
    roots: HashMap<usize, String>,
    anchors: HashMap<(String, String), usize>,
    dynamic: HashMap<String, Vec<usize>>,
}

impl Resources {
    /// Notes the identifiers of a subschema, and gives the base for what is below it.
    pub(super) fn enter(
        &mut self,
        keywords: &Map<String, Value>,
        base: &Base,
        place: usize,
        dialect: Dialect,
    ) -> Base {
        if place == 0 {
            self.add(base, place);
        }
        let text = |key: &str| keywords.get(key).and_then(Value::as_str);
        // In draft-07 an identifier beside `$ref` is ignored like everything else.
        let ignored = dialect == Dialect::Draft07 && keywords.contains_key("$ref");
        let mut base = base.clone();
        match text("$id").filter(|_| !ignored) {
            Some(id) if id.starts_with('#') => {
                self.anchors
                    .insert((base.0.clone(), id[1..].to_owned()), place);
            }
            Some(id) => {
                if let Some((absolute, fragment)) = absolute(&base, id) {
                    base = Base(absolute);
                    self.add(&base, place);
                    if !fragment.is_empty() {
                        self.anchors.insert((base.0.clone(), fragment), place);
                    }
                }
            }
            None => {}
        }
        if dialect == Dialect::Draft202012 {
            for name in ["$anchor", "$dynamicAnchor"].into_iter().filter_map(text) {
                self.anchors
                    .insert((base.0.clone(), name.to_owned()), place);
            }
            if let Some(name) = text("$dynamicAnchor") {
                self.dynamic.entry(name.to_owned()).or_default().push(place);
            }
        }
        base
    }

    fn add(&mut self, base: &Base, place: usize) {
        self.places.entry(base.0.clone()).or_insert(place);
        // An identifier of the place replaces the base that the document came with.
        self.roots.insert(place, base.0.clone());
    }

    /// The resource that a reference names, and the fragment inside it. `None` stands for the
    /// metaschemas, which are built in.
    pub(super) fn resolve(
        &self,
        reference: &str,
        base: &Base,
    ) -> Result<Option<(usize, String)>, Outside> {
        let (absolute, fragment) = absolute(base, reference).ok_or(Outside)?;
        match self.places.get(&absolute) {
            Some(place) => Ok(Some((*place, fragment))),
            None if is_metaschema(&absolute) => Ok(None),
            None => Err(Outside),
        }
    }

    /// The place that an anchor of a resource names.
    pub(super) fn anchor(&self, resource: usize, name: &str) -> Option<usize> {
        let base = self.roots.get(&resource)?;
        self.anchors.get(&(base.clone(), name.to_owned())).copied()
    }

    /// All places that a dynamic reference of this name can mean.
    pub(super) fn dynamic_anchors(&self, name: &str) -> Vec<usize> {
        self.dynamic.get(name).cloned().unwrap_or_default()
    }
}

/// The absolute identifier without its fragment, and the fragment, decoded.
fn absolute(base: &Base, reference: &str) -> Option<(String, String)> {
    let base: Uri<String> = uri::from_str(&base.0).ok()?;
    let resolved = uri::resolve_against(&base.borrow(), reference).ok()?;
    let text = resolved.as_str();
    let (document, fragment) = text.split_once('#').unwrap_or((text, ""));
    Some((document.to_owned(), decode(fragment)?))
}

/// Undoes percent-encoding.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            let value = digit(rest.next()?)? * 16 + digit(rest.next()?)?;
            bytes.push(u8::try_from(value).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

fn is_metaschema(uri: &str) -> bool {
    uri.starts_with("http://json-schema.org/draft-07/schema")
        || uri.starts_with("https://json-schema.org/draft/2020-12/")
}
