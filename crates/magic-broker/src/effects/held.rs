//! The effects of one request, in the order in which it asked for them.
//!
//! Queue and cache append to the same list, because a controller that sets a
//! cache entry and then publishes a message may rely on that order. The list is
//! bounded in number and in bytes: it lives in the supervisor's memory first
//! and in a table of the controllers' database afterwards.

use super::Effect;
use crate::problem;
use magic_contract::Failure;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How much one request may hold back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldLimits {
    /// The most effects.
    pub count: usize,
    /// The most bytes of their keys and bodies together.
    pub bytes: usize,
}

impl Default for HeldLimits {
    /// 1,000 effects of 4 MiB together.
    fn default() -> Self {
        Self {
            count: 1000,
            bytes: 4 * 1024 * 1024,
        }
    }
}

/// The list. Shared by the sessions of one request.
#[derive(Debug, Default)]
pub struct Held {
    limits: HeldLimits,
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    effects: Vec<Effect>,
    bytes: usize,
    closed: bool,
}

impl Held {
    /// An empty list.
    #[must_use]
    pub fn new(limits: HeldLimits) -> Self {
        Self {
            limits,
            list: Mutex::default(),
        }
    }

    /// Appends one effect.
    ///
    /// # Errors
    ///
    /// E2004 when the request has held back enough.
    pub(crate) fn hold(&self, effect: Effect) -> Result<(), Failure> {
        let size = size(&effect);
        let mut list = self.lock();
        if list.closed {
            return Err(problem::misuse(
                "the request has ended; what it does now has no effect",
            ));
        }
        if list.effects.len() >= self.limits.count {
            return Err(problem::exhausted(
                "effects",
                format!(
                    "one request may publish, acknowledge and write at most {} times; \
                     send fewer and larger messages, or write `effects: immediate` in the contract",
                    self.limits.count
                ),
            ));
        }
        if list.bytes.saturating_add(size) > self.limits.bytes {
            return Err(problem::exhausted(
                "effect_bytes",
                format!(
                    "what one request publishes and writes may have {} bytes together; \
                     store the data in a table and publish its key",
                    self.limits.bytes
                ),
            ));
        }
        list.bytes += size;
        list.effects.push(effect);
        Ok(())
    }

    /// Whether nothing is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().effects.is_empty()
    }

    /// Takes back the message of that identity; `false` if there is none.
    pub(crate) fn withdraw(&self, message: &str) -> bool {
        let mut list = self.lock();
        let position = list
            .effects
            .iter()
            .position(|effect| matches!(effect, Effect::Publish { id, .. } if id == message));
        match position {
            Some(position) => {
                let effect = list.effects.remove(position);
                list.bytes = list.bytes.saturating_sub(size(&effect));
                true
            }
            None => false,
        }
    }

    /// The body of the held message of that identity.
    pub(crate) fn body(&self, message: &str) -> Option<String> {
        self.lock().effects.iter().find_map(|effect| match effect {
            Effect::Publish { id, body, .. } if id == message => Some(body.clone()),
            _ => None,
        })
    }

    /// Takes everything, in order, to be stored with the commit. Nothing can be
    /// added afterwards.
    pub fn take_effects(&self) -> Vec<Effect> {
        let mut list = self.lock();
        list.closed = true;
        list.bytes = 0;
        std::mem::take(&mut list.effects)
    }

    /// Forgets everything: the request has failed. Nothing can be added
    /// afterwards.
    pub fn abandon(&self) {
        self.take_effects();
    }

    /// A panic while the list was locked leaves no half-made entry behind,
    /// since every change is one push or one removal.
    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an effect weighs: its texts and something for its frame.
fn size(effect: &Effect) -> usize {
    let texts = match effect {
        Effect::Publish { queue, id, body } => queue.len() + id.len() + body.len(),
        Effect::Ack { queue, receipt } => queue.len() + receipt.len(),
        Effect::CacheSet { key, value, .. } => key.len() + value.len(),
        Effect::CacheDelete { key } => key.len(),
    };
    texts + 64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(id: &str, body: &str) -> Effect {
        Effect::Publish {
            queue: "s/q".to_owned(),
            id: id.to_owned(),
            body: body.to_owned(),
        }
    }

    /// Both budgets are E2004 and name themselves; what is taken back is free again.
    #[test]
    fn budgets_hold_and_come_back() {
        let held = Held::new(HeldLimits {
            count: 2,
            bytes: 1000,
        });
        held.hold(publish("a", "1")).unwrap();
        let failure = held.hold(publish("b", &"x".repeat(900))).unwrap_err();
        assert_eq!(failure.details["budget"], "effect_bytes");
        held.hold(publish("c", "1")).unwrap();
        let failure = held.hold(publish("d", "1")).unwrap_err();
        assert_eq!(failure.details["budget"], "effects");
        assert!(held.withdraw("a"));
        assert!(!held.withdraw("a"));
        held.hold(publish("e", "1")).unwrap();
        assert_eq!(held.take_effects(), [publish("c", "1"), publish("e", "1")]);
    }

    /// After the end nothing is added.
    #[test]
    fn a_closed_list_takes_nothing() {
        let held = Held::default();
        held.hold(publish("a", "1")).unwrap();
        held.abandon();
        assert!(held.hold(publish("b", "1")).is_err());
        assert!(held.take_effects().is_empty());
    }
}
