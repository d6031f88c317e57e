//! The cache within the process: bounded by bytes, each entry with its own end.

use super::CacheKey;
use moka::Expiry;
use moka::sync::Cache;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What an entry costs beside its texts: two shared pointers, the tables of the
/// cache, the allocator's rounding. An estimate, on the high side.
const OVERHEAD: usize = 256;

#[derive(Clone)]
pub(super) struct EmbeddedCache {
    entries: Cache<Arc<str>, Entry>,
}

#[derive(Clone)]
struct Entry {
    value: Arc<str>,
    ttl: Duration,
}

/// Each entry says itself how long it lives, from each time it is written.
struct EntryExpiry;

impl Expiry<Arc<str>, Entry> for EntryExpiry {
    fn expire_after_create(&self, _: &Arc<str>, entry: &Entry, _: Instant) -> Option<Duration> {
        Some(entry.ttl)
    }

    fn expire_after_update(
        &self,
        _: &Arc<str>,
        entry: &Entry,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.ttl)
    }
}

impl EmbeddedCache {
    pub(super) fn new(capacity_bytes: u64) -> Self {
        let entries = Cache::builder()
            .max_capacity(capacity_bytes)
            .weigher(|key: &Arc<str>, entry: &Entry| {
                u32::try_from(key.len() + entry.value.len() + OVERHEAD).unwrap_or(u32::MAX)
            })
            .expire_after(EntryExpiry)
            .build();
        Self { entries }
    }

    pub(super) fn get(&self, key: &CacheKey) -> Option<String> {
        self.entries
            .get(key.as_str())
            .map(|entry| entry.value.to_string())
    }

    pub(super) fn set(&self, key: &CacheKey, value: &str, ttl: Duration) {
        let entry = Entry {
            value: value.into(),
            ttl,
        };
        self.entries.insert(key.as_str().into(), entry);
    }

    pub(super) fn delete(&self, key: &CacheKey) {
        self.entries.invalidate(key.as_str());
    }
}

impl fmt::Debug for EmbeddedCache {
    /// Without the entries: they are the controllers' data.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("EmbeddedCache")
            .field("entries", &self.entries.entry_count())
            .finish_non_exhaustive()
    }
}
