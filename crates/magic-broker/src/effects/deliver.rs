//! Applies effects that were committed.
//!
//! Whoever calls this reads effects from a table and removes each one after it
//! was applied. Between the two the process may die, so every effect is applied
//! in a way that may be repeated: a message has an identity that the queue
//! remembers for a while after it was acknowledged, an acknowledgement of what
//! is gone changes nothing, and a cache entry carries the moment at which it
//! ends, not how long it lives.

use super::Effect;
use crate::cache::{Cache, CacheKey};
use crate::queue::{QueueError, QueueKey, Queues};
use crate::store::StoreError;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An effect was not applied.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// It was not written by this program; keep it for a person to look at.
    #[error("the stored effect has no valid key")]
    Key,
    /// The queue did not take it.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The cache did not take it.
    #[error(transparent)]
    Cache(StoreError),
}

impl DeliverError {
    /// Whether to try again later. A full queue is retriable: somebody has to
    /// receive first, and until then the effect waits where it is. So is a store
    /// that fails until somebody mends it: that is no fault of the effect, and
    /// others that wait for the same store would have to be found and freed.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Key => false,
            Self::Queue(QueueError::Store(_)) | Self::Cache(_) => true,
            Self::Queue(error) => error.is_retriable(),
        }
    }
}

/// Applies one effect. Applying it again later changes nothing more, but for
/// two limits: a message that was acknowledged longer ago than
/// [`QueueOptions::remember`](crate::QueueOptions::remember) is published anew,
/// and a cache entry overwrites one that was written since.
///
/// # Errors
///
/// [`DeliverError`]; nothing was applied, or the answer was lost.
pub async fn deliver(effect: &Effect, queues: &Queues, cache: &Cache) -> Result<(), DeliverError> {
    match effect {
        Effect::Publish { queue, id, body } => {
            let key = QueueKey::parse(queue).ok_or(DeliverError::Key)?;
            queues.publish(&key, id, body).await?;
        }
        Effect::Ack { queue, receipt } => {
            let key = QueueKey::parse(queue).ok_or(DeliverError::Key)?;
            queues.ack(&key, receipt).await?;
        }
        Effect::CacheSet {
            key,
            value,
            expires_at_ms,
        } => {
            let key = CacheKey::parse(key).ok_or(DeliverError::Key)?;
            match remaining(*expires_at_ms, now_ms()) {
                // It would have ended by now, and so has what it replaced.
                Some(Duration::ZERO) => cache.delete(&key).await,
                ttl => cache.set(&key, value, ttl).await,
            }
            .map_err(DeliverError::Cache)?;
        }
        Effect::CacheDelete { key } => {
            let key = CacheKey::parse(key).ok_or(DeliverError::Key)?;
            cache.delete(&key).await.map_err(DeliverError::Cache)?;
        }
    }
    Ok(())
}

/// How long an entry still has; `None` for no end of its own.
fn remaining(expires_at_ms: Option<i64>, now_ms: i64) -> Option<Duration> {
    expires_at_ms.map(|end| {
        u64::try_from(end.saturating_sub(now_ms)).map_or(Duration::ZERO, Duration::from_millis)
    })
}

/// The wall clock in milliseconds since the epoch.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What ended is over, whatever the numbers.
    #[test]
    fn remaining_time_never_wraps() {
        let cases = [
            (None, 5, None),
            (Some(7), 5, Some(2)),
            (Some(5), 5, Some(0)),
            (Some(3), 5, Some(0)),
            (Some(i64::MIN), i64::MAX, Some(0)),
            (Some(i64::MAX), i64::MIN, Some(i64::MAX.unsigned_abs())),
        ];
        for (end, now, expected) in cases {
            assert_eq!(remaining(end, now), expected.map(Duration::from_millis));
        }
    }
}
