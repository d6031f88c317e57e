//! One request's use of the cache.
//!
//! With `effects: on_success` a write waits in the request's list of effects,
//! and this session remembers what the request would see if it had taken place:
//! a `get` after a `set` or a `delete` answers from here and asks nobody. With
//! `effects: immediate` a write is announced and made at once.

use super::{Cache, CacheKey};
use crate::call::Call;
use crate::capability::Method;
use crate::effects::{Effect, Held, now_ms};
use crate::problem;
use crate::store::within;
use magic_contract::{Capability, ControllerName, Effects, Failure, Target};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The cache as one request sees it.
#[derive(Debug)]
pub struct CacheSession {
    cache: Cache,
    controller: ControllerName,
    mode: Effects,
    held: Arc<Held>,
    own: Mutex<HashMap<CacheKey, Own>>,
}

/// What the request itself did to a key.
#[derive(Debug)]
enum Own {
    Set {
        value: String,
        until: Option<Instant>,
    },
    Deleted,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyParameters {
    key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetParameters<'a> {
    key: String,
    #[serde(borrow)]
    value: &'a RawValue,
    #[serde(default)]
    ttl_ms: Option<u64>,
}

#[derive(Serialize)]
struct Found<'a> {
    hit: bool,
    value: Option<&'a RawValue>,
}

impl CacheSession {
    /// The session of one request. `held` is shared with the request's other
    /// sessions and holds the writes when `mode` says so.
    #[must_use]
    pub fn new(cache: Cache, controller: ControllerName, mode: Effects, held: Arc<Held>) -> Self {
        Self {
            cache,
            controller,
            mode,
            held,
            own: Mutex::default(),
        }
    }

    /// Performs `cache.get`, `cache.set` or `cache.delete`.
    pub(crate) async fn perform(
        &self,
        call: &mut Call<'_>,
        parameters: &str,
    ) -> Result<String, Failure> {
        match call.method {
            Method::CacheGet => self.get(call, parameters).await,
            Method::CacheSet => self.set(call, parameters).await,
            Method::CacheDelete => self.delete(call, parameters).await,
            other => Err(problem::misuse(format!(
                "{} is no method of the cache",
                other.as_str()
            ))),
        }
    }

    async fn get(&self, call: &mut Call<'_>, parameters: &str) -> Result<String, Failure> {
        let KeyParameters { key: name } = problem::parameters(call.method, parameters)?;
        let key = self.key(call, &name)?;
        call.fact("key_pattern", self.pattern(call.capability(), &name));
        call.check(&Target::CacheKey(&name))?;
        let value = match self.seen(&key) {
            Some(own) => own,
            None => within(call.deadline, self.cache.get(&key)).await?,
        };
        let value = value.as_deref().map(serde_json::from_str).transpose();
        let value: Option<&RawValue> = value.map_err(|error| {
            problem::backend("the cache holds no JSON there", false, error.to_string())
        })?;
        encode(&Found {
            hit: value.is_some(),
            value,
        })
    }

    async fn set(&self, call: &mut Call<'_>, parameters: &str) -> Result<String, Failure> {
        let SetParameters {
            key: name,
            value,
            ttl_ms,
        } = problem::parameters(call.method, parameters)?;
        let key = self.key(call, &name)?;
        call.fact("key", key.label());
        call.fact("ttl", ttl_ms);
        call.check(&Target::CacheKey(&name))?;
        let value = value.get();
        self.cache.check(value)?;
        let ttl = self.ttl(ttl_ms)?;
        match self.mode {
            Effects::Immediate => {
                call.announce().await?;
                within(call.deadline, self.cache.set(&key, value, ttl)).await?;
            }
            Effects::OnSuccess => {
                let mut own = self.lock();
                self.held.hold(Effect::CacheSet {
                    key: key.as_str().to_owned(),
                    value: value.to_owned(),
                    expires_at_ms: ttl.map(|ttl| {
                        now_ms().saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX))
                    }),
                })?;
                let value = value.to_owned();
                let until = ttl.and_then(|ttl| Instant::now().checked_add(ttl));
                own.insert(key, Own::Set { value, until });
            }
        }
        Ok("null".to_owned())
    }

    async fn delete(&self, call: &mut Call<'_>, parameters: &str) -> Result<String, Failure> {
        let KeyParameters { key: name } = problem::parameters(call.method, parameters)?;
        let key = self.key(call, &name)?;
        call.fact("key", key.label());
        call.check(&Target::CacheKey(&name))?;
        match self.mode {
            Effects::Immediate => {
                call.announce().await?;
                within(call.deadline, self.cache.delete(&key)).await?;
            }
            Effects::OnSuccess => {
                let mut own = self.lock();
                self.held.hold(Effect::CacheDelete {
                    key: key.as_str().to_owned(),
                })?;
                own.insert(key, Own::Deleted);
            }
        }
        Ok("null".to_owned())
    }

    /// The entry that the call's capability means by a name.
    fn key(&self, call: &Call<'_>, name: &str) -> Result<CacheKey, Failure> {
        if call.capability().is_bare() {
            CacheKey::private(&self.controller, name)
        } else {
            CacheKey::shared(name)
        }
    }

    /// The pattern of the contract that a key falls under, for the record.
    fn pattern(&self, capability: &Capability, name: &str) -> String {
        match capability {
            Capability::CacheRead { keys: Some(keys) } => keys
                .iter()
                .find(|pattern| pattern.covers(name))
                .map_or_else(|| name.to_owned(), ToString::to_string),
            _ => format!("c/{}/*", self.controller),
        }
    }

    /// What the request itself left under a key: a value, nothing, or it did
    /// not touch it.
    fn seen(&self, key: &CacheKey) -> Option<Option<String>> {
        let own = self.lock();
        match own.get(key)? {
            Own::Deleted => Some(None),
            Own::Set {
                until: Some(until), ..
            } if *until <= Instant::now() => Some(None),
            Own::Set { value, .. } => Some(Some(value.clone())),
        }
    }

    fn ttl(&self, ttl_ms: Option<u64>) -> Result<Option<Duration>, Failure> {
        let longest = self.cache.options().longest;
        match ttl_ms.map(Duration::from_millis) {
            Some(ttl) if ttl.is_zero() || ttl > longest => Err(problem::misuse(format!(
                "a time to live must be longer than nothing and at most {} seconds; \
                 to forget an entry, use cache.delete",
                longest.as_secs()
            ))),
            ttl => Ok(ttl),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CacheKey, Own>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn encode(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value)
        .map_err(|error| problem::backend("the answer is no JSON", false, error.to_string()))
}

#[cfg(test)]
mod tests;
