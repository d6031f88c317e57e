//! An automaton that finds many texts in one pass (Aho and Corasick, 1975).
//!
//! It is written out here, rather than taken from a crate, because its nodes hold the secrets byte
//! by byte and must be overwritten when the request is over.

use super::patterns;
use crate::secrets::value::SecretValue;
use magic_contract::SecretName;
use zeroize::Zeroize;

/// A place in the automaton: how much of which pattern the last bytes are.
pub(super) type State = usize;

/// Where nothing has matched yet.
pub(super) const ROOT: State = 0;
/// No node: the root is nobody's child and nobody's sibling.
const NONE: usize = 0;

/// The automaton.
pub(super) struct Matcher {
    nodes: Vec<Node>,
    /// The children of the root, by byte: most steps begin there.
    first: [usize; 256],
    names: Vec<SecretName>,
    longest: usize,
}

#[derive(Clone, Default)]
struct Node {
    byte: u8,
    child: usize,
    sibling: usize,
    /// The longest proper end of what leads here that leads somewhere itself.
    fallback: usize,
    /// The length of the longest pattern that ends here; 0 when none does.
    found: usize,
    /// The place of that pattern's name.
    owner: usize,
}

impl Matcher {
    /// An automaton for all patterns of these values.
    pub(super) fn new(values: &[(SecretName, SecretValue)]) -> Self {
        let mut matcher = Self {
            nodes: vec![Node::default()],
            first: [NONE; 256],
            names: values.iter().map(|(name, _)| name.clone()).collect(),
            longest: 0,
        };
        // Room for all nodes at once, since a vector that grows leaves copies behind.
        let bytes = values.iter().flat_map(|(_, value)| patterns(value));
        matcher.nodes.reserve_exact(bytes.map(str::len).sum());
        for (owner, (_, value)) in values.iter().enumerate() {
            for pattern in patterns(value) {
                matcher.add(pattern, owner);
            }
        }
        matcher.link();
        matcher
    }

    fn add(&mut self, pattern: &str, owner: usize) {
        let mut at = ROOT;
        for byte in pattern.bytes() {
            at = match self.child(at, byte) {
                NONE => self.grow(at, byte),
                child => child,
            };
        }
        if self.nodes[at].found == 0 {
            self.nodes[at].found = pattern.len();
            self.nodes[at].owner = owner;
        }
        self.longest = self.longest.max(pattern.len());
    }

    fn grow(&mut self, parent: usize, byte: u8) -> usize {
        let child = self.nodes.len();
        self.nodes.push(Node {
            byte,
            sibling: self.nodes[parent].child,
            ..Node::default()
        });
        self.nodes[parent].child = child;
        if parent == ROOT {
            self.first[usize::from(byte)] = child;
        }
        child
    }

    /// Sets the fallbacks, from the root outwards.
    fn link(&mut self) {
        let mut level = vec![ROOT];
        while !level.is_empty() {
            let mut next = Vec::new();
            for parent in level {
                let mut child = self.nodes[parent].child;
                while child != NONE {
                    let fallback = match parent {
                        ROOT => ROOT,
                        _ => self.step(self.nodes[parent].fallback, self.nodes[child].byte),
                    };
                    let node = &self.nodes[fallback];
                    let (found, owner) = (node.found, node.owner);
                    let node = &mut self.nodes[child];
                    node.fallback = fallback;
                    if node.found == 0 {
                        (node.found, node.owner) = (found, owner);
                    }
                    next.push(child);
                    child = node.sibling;
                }
            }
            level = next;
        }
    }

    fn child(&self, parent: usize, byte: u8) -> usize {
        if parent == ROOT {
            return self.first[usize::from(byte)];
        }
        let mut child = self.nodes[parent].child;
        while child != NONE && self.nodes[child].byte != byte {
            child = self.nodes[child].sibling;
        }
        child
    }

    /// The state after one more byte. Each fallback takes back a byte that was gone forward, so
    /// all steps together are no more than two for each byte.
    pub(super) fn step(&self, mut state: State, byte: u8) -> State {
        loop {
            match self.child(state, byte) {
                NONE if state == ROOT => return ROOT,
                NONE => state = self.nodes[state].fallback,
                child => return child,
            }
        }
    }

    /// The length and the owner of the longest pattern that ends in this state.
    pub(super) fn found(&self, state: State) -> Option<(usize, usize)> {
        let node = &self.nodes[state];
        (node.found > 0).then_some((node.found, node.owner))
    }

    /// The bytes of the longest pattern.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// What is written in place of a secret.
    pub(super) fn marker(&self, owner: usize) -> String {
        match self.names.get(owner) {
            Some(name) => format!("[secret {name}]"),
            None => "[secret]".to_owned(),
        }
    }
}

impl Drop for Matcher {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            node.byte.zeroize();
        }
        // The places alone would tell first bytes.
        self.first.zeroize();
    }
}
