//! What a request wants to happen outside, held until it has succeeded.
//!
//! Publishes, acknowledgements and cache writes are values here, so that they
//! can wait in a table beside the rows of the same transaction and be delivered
//! after the commit, by this process or by the next one.

mod deliver;
mod held;

pub(crate) use deliver::now_ms;
pub use deliver::{DeliverError, deliver};
pub use held::{Held, HeldLimits};

use serde::{Deserialize, Serialize};

/// One effect, as it is stored in the outbox. The stored form is read by later
/// versions of this program: members are added, never renamed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Effect {
    /// A message for a queue. `id` is its identity for ever: delivering it
    /// twice makes no second message where the queue can tell.
    Publish {
        /// The queue's full key.
        queue: String,
        /// The message's identity.
        id: String,
        /// Its body: JSON text.
        body: String,
    },
    /// A received message is done.
    Ack {
        /// The queue's full key.
        queue: String,
        /// What `receive` gave out for this delivery.
        receipt: String,
    },
    /// A cache entry.
    CacheSet {
        /// The full key.
        key: String,
        /// The value: JSON text.
        value: String,
        /// When it ends, in milliseconds since the epoch; `None` for never.
        expires_at_ms: Option<i64>,
    },
    /// A cache entry is forgotten.
    CacheDelete {
        /// The full key.
        key: String,
    },
}

#[cfg(test)]
mod tests;
