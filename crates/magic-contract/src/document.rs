//! A document as a tree in which every node knows its place in the text.
//!
//! One parse gives everything: the typed contract, the JSON value of each schema, and the place of
//! any JSON Pointer, so that a problem found long after parsing still points at its line.

use std::fmt::Write as _;
use std::ops::Range;

use serde_json::{Map, Number, Value};

/// One node of a document.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    /// The bytes of the text that the node was written with; for lists and objects, of their start.
    pub(crate) span: Range<usize>,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Object(Vec<Member>),
}

/// One key of an object with its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    pub(crate) key: String,
    pub(crate) key_span: Range<usize>,
    pub(crate) node: Node,
}

impl Node {
    /// What the node is, in words that fit after "found".
    pub(crate) fn describe(&self) -> &'static str {
        match &self.kind {
            Kind::Null => "nothing",
            Kind::Bool(_) => "a boolean",
            Kind::Number(number) if number.is_f64() => "a decimal number",
            Kind::Number(_) => "a whole number",
            Kind::Text(_) => "a string",
            Kind::List(_) => "a list",
            Kind::Object(_) => "an object",
        }
    }

    /// The node as a plain JSON value.
    pub(crate) fn to_value(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(flag) => Value::Bool(*flag),
            Kind::Number(number) => Value::Number(number.clone()),
            Kind::Text(text) => Value::String(text.clone()),
            Kind::List(items) => items.iter().map(Self::to_value).collect(),
            Kind::Object(members) => {
                let member = |member: &Member| (member.key.clone(), member.node.to_value());
                Value::Object(members.iter().map(member).collect::<Map<_, _>>())
            }
        }
    }

    /// The member of an object.
    pub(crate) fn member(&self, key: &str) -> Option<&Member> {
        match &self.kind {
            Kind::Object(members) => members.iter().find(|member| member.key == key),
            _ => None,
        }
    }

    /// The place of a JSON Pointer below this node: of the key where there is one, since lists and
    /// objects have no short place of their own, and of the nearest ancestor when the pointer leads
    /// out of the document.
    pub(crate) fn locate(&self, pointer: &str) -> Range<usize> {
        let mut node = self;
        let mut place = self.span.clone();
        for segment in pointer.split('/').skip(1) {
            let key = segment.replace("~1", "/").replace("~0", "~");
            match &node.kind {
                Kind::Object(_) => {
                    let Some(member) = node.member(&key) else {
                        return place;
                    };
                    node = &member.node;
                    place = if node.is_scalar() {
                        node.span.clone()
                    } else {
                        member.key_span.clone()
                    };
                }
                Kind::List(items) => {
                    let Some(item) = key.parse::<usize>().ok().and_then(|index| items.get(index))
                    else {
                        return place;
                    };
                    node = item;
                    place = node.span.clone();
                }
                _ => return place,
            }
        }
        place
    }

    fn is_scalar(&self) -> bool {
        !matches!(self.kind, Kind::List(_) | Kind::Object(_) | Kind::Null)
    }
}

/// Adds one step to a JSON Pointer.
pub(crate) fn child(pointer: &str, segment: impl AsRef<str>) -> String {
    let segment = segment.as_ref();
    let mut longer = String::with_capacity(pointer.len() + segment.len() + 1);
    longer.push_str(pointer);
    longer.push('/');
    for character in segment.chars() {
        match character {
            '~' => longer.push_str("~0"),
            '/' => longer.push_str("~1"),
            other => longer.push(other),
        }
    }
    longer
}

/// Adds the place of a list's item to a JSON Pointer.
pub(crate) fn item(pointer: &str, index: usize) -> String {
    let mut longer = pointer.to_owned();
    // Writing to a string cannot fail.
    let _ = write!(longer, "/{index}");
    longer
}
