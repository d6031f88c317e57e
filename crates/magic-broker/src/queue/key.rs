//! Which queue is meant: the shared one of a name, or a controller's own.
//!
//! A key is `s/<name>` for a queue that contracts list and
//! `c/<Controller>/<name>` for the private one that a bare capability means.
//! The alphabets of both names have no slash, so no name can reach into the
//! other space. Dead letters are a queue beside: the same key with `.dead`.

use magic_contract::{ControllerName, QueueName};
use std::fmt;

const DEAD: &str = ".dead";

/// The full key of one queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueKey(String);

impl QueueKey {
    /// The queue that every contract means that lists this name.
    #[must_use]
    pub fn shared(name: &QueueName) -> Self {
        Self(format!("s/{name}"))
    }

    /// The queue of this name that is the controller's own.
    #[must_use]
    pub fn private(controller: &ControllerName, name: &QueueName) -> Self {
        Self(format!("c/{controller}/{name}"))
    }

    /// Reads a key that was written down earlier.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let name = match text.split_once('/')? {
            ("s", name) => name,
            ("c", rest) => {
                let (controller, name) = rest.split_once('/')?;
                controller.parse::<ControllerName>().ok()?;
                name
            }
            _ => return None,
        };
        // The name of a dead-letter queue may be longer than a contract's.
        let bare = name.strip_suffix(DEAD).unwrap_or(name);
        if name.parse::<QueueName>().is_err() && bare.parse::<QueueName>().is_err() {
            return None;
        }
        Some(Self(text.to_owned()))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The queue that takes the messages which nobody could handle. That of
    /// a dead-letter queue is itself.
    #[must_use]
    pub fn dead_letters(&self) -> Self {
        if self.is_dead_letters() {
            self.clone()
        } else {
            Self(format!("{}{DEAD}", self.0))
        }
    }

    /// Whether this is a dead-letter queue: its messages are handed out as
    /// often as it takes and never moved.
    #[must_use]
    pub fn is_dead_letters(&self) -> bool {
        self.0.ends_with(DEAD)
    }

    /// Who is charged for what waits: a shared queue together with its dead
    /// letters, or a controller with all its private queues.
    pub(crate) fn owner(&self) -> &str {
        if let Some(rest) = self.0.strip_prefix("c/") {
            let controller = rest.find('/').unwrap_or(rest.len());
            &self.0[..2 + controller]
        } else {
            self.0.strip_suffix(DEAD).unwrap_or(&self.0)
        }
    }

    /// What audit records and messages call it: the name that the contract
    /// lists, or the whole key of a private queue.
    #[must_use]
    pub fn label(&self) -> &str {
        self.0.strip_prefix("s/").unwrap_or(&self.0)
    }
}

impl fmt::Display for QueueKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Keys read back as themselves; owners group what is charged together.
    #[test]
    fn keys_and_their_owners() {
        let name: QueueName = "in.voices".parse().unwrap();
        let controller: ControllerName = "InvoiceSync".parse().unwrap();
        let shared = QueueKey::shared(&name);
        let private = QueueKey::private(&controller, &name);
        let table = [
            (shared.clone(), "s/in.voices", "s/in.voices", "in.voices"),
            (
                shared.dead_letters(),
                "s/in.voices.dead",
                "s/in.voices",
                "in.voices.dead",
            ),
            (
                private.clone(),
                "c/InvoiceSync/in.voices",
                "c/InvoiceSync",
                "c/InvoiceSync/in.voices",
            ),
            (
                private.dead_letters().dead_letters(),
                "c/InvoiceSync/in.voices.dead",
                "c/InvoiceSync",
                "c/InvoiceSync/in.voices.dead",
            ),
        ];
        for (key, text, owner, label) in table {
            assert_eq!(key.as_str(), text);
            assert_eq!(key.owner(), owner);
            assert_eq!(key.label(), label);
            assert_eq!(QueueKey::parse(text), Some(key));
        }
        let longest: QueueName = "a".repeat(64).parse().unwrap();
        let dead = QueueKey::shared(&longest).dead_letters();
        assert_eq!(QueueKey::parse(dead.as_str()), Some(dead));
    }

    /// What is no key, each beside one that is.
    #[test]
    fn what_is_no_key() {
        for text in [
            "", "s", "s/", "x/a", "a", "s/A", "s/a/b", "c/a/b", "c/A", "c/A/", "c//a", "c/A/b/c",
        ] {
            assert_eq!(QueueKey::parse(text), None, "{text}");
        }
        assert!(QueueKey::parse("s/a").is_some());
        assert!(QueueKey::parse("c/A/b").is_some());
    }

    proptest! {
        /// No text makes the reader panic, and no key changes by being read.
        #[test]
        fn reading_is_total(text in "\\PC{0,100}") {
            if let Some(key) = QueueKey::parse(&text) {
                prop_assert_eq!(key.as_str(), text.as_str());
                prop_assert!(key.as_str().starts_with(key.owner()));
            }
        }
    }
}
