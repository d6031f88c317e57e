//! The subschemas of a schema and how they apply to each other: what the survey leaves behind.
//!
//! The validator keeps its own compiled form; this one answers the questions that the validator
//! does not: where defaults go, which places of a value are secret, and how much work it can be to
//! explain a refusal. Every subschema is a *place*. From a place, some places apply to the same
//! value (`allOf`, `$ref`, ...), others to its members or items.

use std::collections::HashMap;

use serde_json::Value;

/// Explaining may cost about as many subschema evaluations as this.
const EXPLANATION_BUDGET: usize = 100_000;

/// One subschema.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// Where it stands in the schema, as a JSON Pointer.
    pub(super) pointer: String,
    /// Apply to the same value, by any keyword.
    pub(super) same: Vec<usize>,
    /// The part of `same` that always holds (`$ref`, `allOf`), through which defaults are filled in.
    pub(super) certain: Vec<usize>,
    /// Apply to the member of this name.
    pub(super) properties: Vec<(String, usize)>,
    /// Apply to members that `properties` does not name.
    pub(super) additional: Option<usize>,
    /// May apply to any member.
    pub(super) any_member: Vec<usize>,
    /// Apply to the first items, one each.
    pub(super) first_items: Vec<usize>,
    /// Applies to the items after those.
    pub(super) items: Option<usize>,
    /// May apply to any item.
    pub(super) any_item: Vec<usize>,
    /// What an absent value is taken to be.
    pub(super) default: Option<Value>,
    /// Whether values here must not be shown.
    pub(super) secret: bool,
    /// Whether a default can be filled in at or below this place.
    pub(super) reaches_default: bool,
}

/// All places; the first is the schema itself.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub(super) places: Vec<Place>,
    /// The longest chain of places that apply to one and the same value.
    pub(super) chain: usize,
    /// The deepest value that can be explained within budget.
    pub(super) explained_depth: usize,
    has_secrets: bool,
}

impl Graph {
    /// Finishes a graph after its last edge was drawn. `Err` names a place that applies to the same
    /// value without end.
    pub(super) fn finish(mut self) -> Result<Self, usize> {
        self.chain = self.longest_chain()?;
        self.mark_defaults();
        self.has_secrets = self.places.iter().any(|place| place.secret);
        self.explained_depth = self.explainable_depth();
        Ok(self)
    }

    /// The length of the longest chain along `same`, by depth-first search without recursion.
    fn longest_chain(&self) -> Result<usize, usize> {
        #[derive(Clone, Copy, PartialEq)]
        enum State {
            New,
            Open,
            Done(usize),
        }
        let mut states = vec![State::New; self.places.len()];
        let mut longest = 0;
        for start in 0..self.places.len() {
            if states[start] != State::New {
                continue;
            }
            states[start] = State::Open;
            let mut stack = vec![(start, 0usize, 1usize)];
            while let Some((place, next, length)) = stack.pop() {
                let Some(target) = self.places[place].same.get(next).copied() else {
                    states[place] = State::Done(length);
                    longest = longest.max(length);
                    if let Some(parent) = stack.last_mut() {
                        parent.2 = parent.2.max(length + 1);
                    }
                    continue;
                };
                match states[target] {
                    State::Open => return Err(target),
                    State::Done(below) => stack.push((place, next + 1, length.max(below + 1))),
                    State::New => {
                        states[target] = State::Open;
                        stack.push((place, next + 1, length));
                        stack.push((target, 0, 1));
                    }
                }
            }
        }
        Ok(longest)
    }

    /// The default of a place, or of what it certainly refers to.
    pub(super) fn default_of(&self, index: usize) -> Option<&Value> {
        let place = self
            .places
            .get(index)
            .filter(|place| place.reaches_default)?;
        place.default.as_ref().or_else(|| {
            place
                .certain
                .iter()
                .find_map(|target| self.default_of(*target))
        })
    }

    fn mark_defaults(&mut self) {
        // Backwards from every default, along the edges through which defaults are filled in.
        let mut sources: Vec<Vec<usize>> = vec![Vec::new(); self.places.len()];
        for (index, place) in self.places.iter().enumerate() {
            let members = place.properties.iter().map(|(_, target)| target);
            let edges = place.certain.iter().chain(members).chain(&place.additional);
            for target in edges.chain(&place.first_items).chain(&place.items) {
                sources[*target].push(index);
            }
        }
        let mut open: Vec<usize> = (0..self.places.len())
            .filter(|index| self.places[*index].default.is_some())
            .collect();
        while let Some(index) = open.pop() {
            if !std::mem::replace(&mut self.places[index].reaches_default, true) {
                open.extend(&sources[index]);
            }
        }
    }

    /// How deep a value may be so that evaluating every branch of the schema stays within budget.
    ///
    /// One value is evaluated by at most `width` places. A member of it is evaluated by at most
    /// `overlap` of those, so each level multiplies the work by `overlap`. (Deciding *whether* a
    /// value is valid does not have this problem: the validator remembers results.)
    fn explainable_depth(&self) -> usize {
        let mut width = 1usize;
        let mut overlap = 1usize;
        for start in 0..self.places.len() {
            let Some(closure) = self.unfolded(start) else {
                return 0;
            };
            width = width.max(closure.len());
            overlap = overlap.max(self.largest_overlap(&closure));
        }
        if overlap <= 1 {
            return usize::MAX;
        }
        let mut depth = 0;
        let mut work = width;
        while work.saturating_mul(overlap) <= EXPLANATION_BUDGET {
            work = work.saturating_mul(overlap);
            depth += 1;
        }
        depth
    }

    /// The places that apply to one value, as often as they do; nothing if that is too often.
    fn unfolded(&self, start: usize) -> Option<Vec<usize>> {
        const WIDEST: usize = 2_000;
        let mut closure = Vec::new();
        let mut open = vec![start];
        while let Some(place) = open.pop() {
            closure.push(place);
            open.extend(&self.places[place].same);
            if closure.len() + open.len() > WIDEST {
                return None;
            }
        }
        Some(closure)
    }

    fn largest_overlap(&self, closure: &[usize]) -> usize {
        let mut named: HashMap<&str, usize> = HashMap::new();
        let (mut others, mut items) = (0, 0);
        for place in closure.iter().map(|index| &self.places[*index]) {
            for (name, _) in &place.properties {
                *named.entry(name).or_default() += 1;
            }
            others += place.any_member.len() + usize::from(place.additional.is_some());
            let positional = place.items.is_some() || !place.first_items.is_empty();
            items += place.any_item.len() + usize::from(positional);
        }
        // A named member may be covered by the catch-alls of other places as well.
        let lone = closure.len() == 1;
        let catch_all = if lone {
            closure
                .iter()
                .map(|index| self.places[*index].any_member.len())
                .sum()
        } else {
            others
        };
        let most_named = named.values().max().copied().unwrap_or(0);
        (most_named + catch_all).max(others).max(items)
    }

    /// Whether the value at this path must not be shown.
    pub(super) fn is_secret<'s>(&self, path: impl Iterator<Item = &'s str>) -> bool {
        if !self.has_secrets {
            return false;
        }
        let mut current = self.closure(vec![0]);
        for segment in path {
            if current.iter().any(|index| self.places[*index].secret) {
                return true;
            }
            let index = segment.parse::<usize>().ok();
            let mut next = Vec::new();
            for place in current.iter().map(|index| &self.places[*index]) {
                next.extend(
                    place
                        .properties
                        .iter()
                        .filter(|(name, _)| name == segment)
                        .map(|(_, target)| *target),
                );
                next.extend(place.additional.iter().chain(&place.any_member));
                if let Some(index) = index {
                    next.extend(place.first_items.get(index));
                    next.extend(place.items.iter().chain(&place.any_item));
                }
            }
            current = self.closure(next);
        }
        current.iter().any(|index| self.places[*index].secret)
    }

    /// The places, each once, and all that apply to the same value.
    fn closure(&self, mut open: Vec<usize>) -> Vec<usize> {
        let mut seen = vec![false; self.places.len()];
        let mut closure = Vec::new();
        while let Some(place) = open.pop() {
            if !std::mem::replace(&mut seen[place], true) {
                closure.push(place);
                open.extend(&self.places[place].same);
            }
        }
        closure
    }
}
