//! Fills in defaults before validation.
//!
//! A default counts where it certainly applies: on properties, through local `$ref` and `allOf`, in
//! every item of a list, at any depth. It does not count under `anyOf`, `oneOf`, `if` and their
//! like, where whether it applies would depend on the value that it changes. What is filled in is
//! bounded, since a small schema and a small value could otherwise ask for any amount of it.

use serde_json::Value;

use super::graph::{Graph, Place};
use crate::violation::Violation;

/// The most bytes of defaults that one value receives.
const MOST_BYTES: usize = 8 << 20;
/// The most steps that filling in takes.
const MOST_STEPS: usize = 20_000_000;
/// The deepest level at which something is filled in; the limit of the runtime's values.
const DEEPEST: usize = 100;

/// Fills in all defaults of a value.
pub(super) fn apply(graph: &Graph, value: &mut Value) -> Result<(), Violation> {
    if !graph
        .places
        .first()
        .is_some_and(|place| place.reaches_default)
    {
        return Ok(());
    }
    apply_at(graph, 0, value, MOST_STEPS).map_err(|TooMuch| {
        Violation::new(
            String::new(),
            "default",
            format!("a value whose defaults add at most {MOST_BYTES} bytes, at most {DEEPEST} levels deep"),
            "one that needs more".to_owned(),
        )
    })
}

/// Fills in the defaults that one place has for a value, in so many steps at most.
pub(super) fn apply_at(
    graph: &Graph,
    index: usize,
    value: &mut Value,
    steps: usize,
) -> Result<(), TooMuch> {
    let mut filling = Filling {
        graph,
        bytes_left: MOST_BYTES,
        steps_left: steps,
    };
    filling.fill(index, value, 0)
}

/// A value asked for more defaults than it receives.
pub(super) struct TooMuch;

struct Filling<'g> {
    graph: &'g Graph,
    bytes_left: usize,
    steps_left: usize,
}

impl<'g> Filling<'g> {
    fn fill(&mut self, index: usize, value: &mut Value, depth: usize) -> Result<(), TooMuch> {
        let graph = self.graph;
        let Some(place) = graph
            .places
            .get(index)
            .filter(|place| place.reaches_default)
        else {
            return Ok(());
        };
        self.steps_left = self.steps_left.checked_sub(1).ok_or(TooMuch)?;
        if depth > DEEPEST {
            return Err(TooMuch);
        }
        for target in &place.certain {
            self.fill(*target, value, depth)?;
        }
        match value {
            Value::Object(members) => {
                for (name, target) in &place.properties {
                    if !members.contains_key(name)
                        && let Some(default) = graph.default_of(*target)
                    {
                        self.bytes_left =
                            self.bytes_left.checked_sub(size(default)).ok_or(TooMuch)?;
                        members.insert(name.clone(), default.clone());
                    }
                    if let Some(member) = members.get_mut(name) {
                        self.fill(*target, member, depth + 1)?;
                    }
                }
                self.fill_additional(place, members, depth)
            }
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    if let Some(target) = place.first_items.get(index).copied().or(place.items) {
                        self.fill(target, item, depth + 1)?;
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn fill_additional(
        &mut self,
        place: &Place,
        members: &mut serde_json::Map<String, Value>,
        depth: usize,
    ) -> Result<(), TooMuch> {
        // Where patterns name members too, which members are additional is the validator's business.
        let Some(target) = place.additional.filter(|_| place.any_member.is_empty()) else {
            return Ok(());
        };
        for (name, member) in members.iter_mut() {
            if !place.properties.iter().any(|(known, _)| known == name) {
                self.fill(target, member, depth + 1)?;
            }
        }
        Ok(())
    }
}

/// About how many bytes a value takes.
fn size(value: &Value) -> usize {
    16 + match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| name.len() + size(value))
            .sum(),
        _ => 0,
    }
}
