//! The cache: values that may be gone at any time.
//!
//! Two back ends. The embedded one is in this process, bounded by bytes and gone
//! with it; Redis is shared by all supervisors and survives them.
//!
//! **Two spaces.** A capability that lists key patterns speaks of the *shared*
//! space, where every controller whose contract lists the key sees the same
//! entry. A bare one speaks of the controller's *private* space, which no other
//! controller can name. The space is chosen by each capability on its own, so
//!
//! | contract | `get("rates:EUR")` reads | `set("rates:EUR", …)` writes |
//! |---|---|---|
//! | `cache:read`, `cache:write` | private | private |
//! | `cache:read: {keys: ["rates:*"]}`, `cache:write: {keys: ["rates:*"]}` | shared | shared |
//! | `cache:read: {keys: ["rates:*"]}`, `cache:write` | shared | **private** |
//! | `cache:read`, `cache:write: {keys: ["rates:*"]}` | **private** | shared |
//!
//! In the last two a controller does not read what it writes. That is how a
//! controller reads what others fill without being able to change it, and it is
//! surprising to everybody else: list the keys on both, or on neither.
//!
//! **What a controller may count on**: a value that it reads was written under
//! that key and has not reached its end. It may not count on reading what it
//! wrote: the embedded cache drops what is used least when it is full, whoever
//! wrote it, and Redis drops what its operator told it to.
//!
//! **Ends.** Every entry has one: what was set without a time to live ends after
//! [`CacheOptions::longest`]. The embedded cache measures by the monotonic
//! clock, Redis by its server's clock. Between the call and the delivery of a
//! held write an entry's end is a moment of the supervisor's wall clock.

mod embedded;
mod key;
mod session;

pub use key::CacheKey;
pub use session::CacheSession;

use crate::problem;
use crate::redis_store::{RedisStore, RedisUrlError};
use crate::store::StoreError;
use embedded::EmbeddedCache;
use magic_contract::Failure;
use std::sync::Arc;
use std::time::Duration;

/// How the cache behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheOptions {
    /// The most bytes of all entries together; the embedded cache only.
    pub capacity_bytes: u64,
    /// The longest value in bytes of JSON text.
    pub value_bytes: usize,
    /// The longest time to live, and that of entries which were given none.
    pub longest: Duration,
}

impl Default for CacheOptions {
    /// 64 MiB, 256 KiB each, 30 days.
    fn default() -> Self {
        Self {
            capacity_bytes: 64 * 1024 * 1024,
            value_bytes: 256 * 1024,
            longest: Duration::from_secs(30 * 24 * 3600),
        }
    }
}

/// One cache. Clones are the same cache.
#[derive(Debug, Clone)]
pub struct Cache {
    store: Store,
    options: Arc<CacheOptions>,
}

#[derive(Debug, Clone)]
enum Store {
    Embedded(EmbeddedCache),
    Redis(Arc<RedisStore>),
}

impl Cache {
    /// A cache within this process.
    #[must_use]
    pub fn embedded(options: CacheOptions) -> Self {
        Self {
            store: Store::Embedded(EmbeddedCache::new(options.capacity_bytes)),
            options: Arc::new(options),
        }
    }

    /// A cache in Redis.
    #[must_use]
    pub fn redis(store: Arc<RedisStore>, options: CacheOptions) -> Self {
        Self {
            store: Store::Redis(store),
            options: Arc::new(options),
        }
    }

    /// Connects to a Redis of its own. A process that has queues there too
    /// should make one [`RedisStore`] and use [`Cache::redis`].
    ///
    /// # Errors
    ///
    /// The URL is not one of a Redis.
    pub fn connect(redis_url: &str, options: CacheOptions) -> Result<Self, RedisUrlError> {
        Ok(Self::redis(RedisStore::connect(redis_url)?, options))
    }

    /// How this cache behaves.
    #[must_use]
    pub fn options(&self) -> &CacheOptions {
        &self.options
    }

    /// The value of a key: JSON text. What Redis holds under the key but cannot
    /// be a value (too long, not JSON, nested too deep) is a miss.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn get(&self, key: &CacheKey) -> Result<Option<String>, StoreError> {
        match &self.store {
            Store::Embedded(cache) => Ok(cache.get(key)),
            Store::Redis(store) => {
                // A range bounds what is read; an absent key has the empty text, which is no value.
                let last = self.options.value_bytes.to_string();
                let bytes: Vec<u8> = store
                    .command("GETRANGE", &[&redis_key(key), "0", &last])
                    .await?;
                Ok(self.read(bytes))
            }
        }
    }

    /// Writes an entry that ends after `ttl`, or after [`CacheOptions::longest`]
    /// if that is earlier or nothing is given.
    ///
    /// # Errors
    ///
    /// The store failed; it may have taken the entry.
    pub async fn set(
        &self,
        key: &CacheKey,
        value: &str,
        ttl: Option<Duration>,
    ) -> Result<(), StoreError> {
        let longest = self.options.longest;
        let ttl = ttl.unwrap_or(longest).clamp(
            Duration::from_millis(1),
            longest.max(Duration::from_millis(1)),
        );
        match &self.store {
            Store::Embedded(cache) => {
                cache.set(key, value, ttl);
                Ok(())
            }
            Store::Redis(store) => {
                let ttl = ttl.as_millis().to_string();
                store
                    .command("SET", &[&redis_key(key), value, "PX", &ttl])
                    .await
            }
        }
    }

    /// Forgets an entry. That there was none is no error.
    ///
    /// # Errors
    ///
    /// The store failed; it may have forgotten the entry.
    pub async fn delete(&self, key: &CacheKey) -> Result<(), StoreError> {
        match &self.store {
            Store::Embedded(cache) => {
                cache.delete(key);
                Ok(())
            }
            Store::Redis(store) => store.command("DEL", &[&redis_key(key)]).await,
        }
    }

    fn read(&self, bytes: Vec<u8>) -> Option<String> {
        if bytes.is_empty() || bytes.len() > self.options.value_bytes {
            return None;
        }
        let text = String::from_utf8(bytes).ok()?;
        serde_json::from_str::<&serde_json::value::RawValue>(&text).ok()?;
        (!crate::store::is_too_deep(&text)).then_some(text)
    }

    /// Judges a value before it is held or written.
    fn check(&self, value: &str) -> Result<(), Failure> {
        let most = self.options.value_bytes;
        if value.len() > most {
            return Err(problem::exhausted(
                "value_bytes",
                format!(
                    "the value has {} bytes of JSON and may have {most}; split it over several keys",
                    value.len()
                ),
            ));
        }
        if crate::store::is_too_deep(value) {
            return Err(crate::store::too_deep("the value"));
        }
        Ok(())
    }
}

fn redis_key(key: &CacheKey) -> String {
    format!("magic:cache:{}", key.as_str())
}

#[cfg(test)]
mod tests;
