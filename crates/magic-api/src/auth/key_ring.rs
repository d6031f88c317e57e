//! The stored API keys, as this node knows them.
//!
//! A request is judged by a value: the ring of live keys as it was last read. No request waits for the store, and the store may be
//! away. Two things keep that honest. A task reads the ring again as soon as the store says that keys have changed, which is within
//! a second on every node that reaches it; and once the store has been out of reach for longer than the operator accepts, the
//! ring opens nothing any more, because a key on it may have been revoked since.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use magic_store::state::{ApiKeys, KeyRefusal, KeyText, Link, State, StateError, StoredKey};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::caller::{Caller, Scope};
use super::failure::AuthFailure;
use super::rate::Rate;
use super::role::Roles;

/// How soon a reading that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Keys by their public names.
#[derive(Debug, Default)]
pub(crate) struct KeyRing {
    keys: HashMap<String, (StoredKey, Caller)>,
}

impl KeyRing {
    fn of(keys: impl IntoIterator<Item = StoredKey>) -> Self {
        let keys = keys.into_iter().map(|stored| {
            let key = stored.key();
            let roles = Roles::among(key.roles.iter().map(String::as_str));
            let scope = match &key.controllers {
                None => Scope::Everything,
                Some(names) => Scope::Only(names.as_slice().into()),
            };
            let rate = key.rate.map(|rate| Rate {
                per_second: rate.per_second,
                burst: rate.burst,
            });
            let caller = Caller::of_key(&key.id, roles, scope).at(rate);
            (key.id.clone(), (stored, caller))
        });
        Self {
            keys: keys.collect(),
        }
    }

    /// Whose key that is, at that time.
    ///
    /// # Errors
    /// [`AuthFailure::WrongKey`] or [`AuthFailure::ExpiredKey`].
    pub(crate) fn verify(&self, presented: &str, now: Timestamp) -> Result<Caller, AuthFailure> {
        let text = KeyText::parse(presented).map_err(|_| AuthFailure::WrongKey)?;
        // The public name is looked up; only the secret has to be compared in constant time, and `admit` does.
        let (stored, caller) = self.keys.get(text.id()).ok_or(AuthFailure::WrongKey)?;
        match stored.admit(&text, now) {
            Ok(_) => Ok(caller.clone()),
            Err(KeyRefusal::Expired) => Err(AuthFailure::ExpiredKey),
            Err(_) => Err(AuthFailure::WrongKey),
        }
    }
}

/// What is known at a moment.
#[derive(Debug, Clone, Default)]
struct View {
    ring: Arc<KeyRing>,
    /// Since when it can no longer be brought up to date.
    lost_since: Option<Instant>,
}

/// The ring that holds now. The task that keeps it ends with this value.
#[derive(Debug)]
pub struct StoredKeys {
    view: watch::Receiver<View>,
    staleness: Duration,
    task: AbortHandle,
}

impl Drop for StoredKeys {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl StoredKeys {
    /// Reads the keys, and keeps reading when they change. `staleness` is how long they hold when the store is out of reach.
    ///
    /// # Errors
    /// When they cannot be read now.
    pub async fn follow(state: &State, staleness: Duration) -> Result<Self, StateError> {
        let keys = state.api_keys();
        let (tell, view) = watch::channel(View {
            ring: Arc::new(read(&keys).await?),
            lost_since: None,
        });
        let task = tokio::spawn(keep(state.clone(), keys, tell)).abort_handle();
        Ok(Self {
            view,
            staleness,
            task,
        })
    }

    /// Waits until a change that was stored has reached this ring, so that a key opens this node once its maker has it, and not any
    /// more once its revocation was answered. The store is behind on neither for long; beyond that, nobody waits.
    pub(crate) async fn until(&self, id: &str, live: bool) {
        let mut view = self.view.clone();
        let arrived = view.wait_for(|view| view.ring.keys.contains_key(id) == live);
        let _ = tokio::time::timeout(2 * RETRY, arrived).await;
    }

    pub(crate) fn verify(&self, presented: &str) -> Result<Caller, AuthFailure> {
        let View { ring, lost_since } = self.view.borrow().clone();
        if let Some(age) = lost_since.map(|since| since.elapsed())
            && age > self.staleness
        {
            return Err(AuthFailure::StaleKeys { age });
        }
        ring.verify(presented, Timestamp::now())
    }
}

async fn read(keys: &ApiKeys) -> Result<KeyRing, StateError> {
    let live = keys.live_keys().await?;
    Ok(KeyRing::of(live.into_iter().map(owned)))
}

fn owned(key: Arc<StoredKey>) -> StoredKey {
    Arc::unwrap_or_clone(key)
}

/// Reads again whenever there is a reason, for ever.
async fn keep(state: State, keys: ApiKeys, tell: watch::Sender<View>) {
    let mut revision = state.watch();
    let mut link = state.link();
    // What has changed between the first reading and this line is seen by the first round.
    loop {
        // Looked at before reading, so that a change during it causes another round.
        let connected = matches!(*link.borrow_and_update(), Link::Connected { .. });
        revision.borrow_and_update();
        let ring = match connected {
            true => read(&keys).await.inspect_err(|error| {
                tracing::warn!(%error, "the API keys cannot be read again");
            }),
            false => Err(StateError::Unavailable {
                why: "the store is out of reach".to_owned(),
            }),
        };
        let current = ring.is_ok();
        tell.send_modify(|view| match ring {
            Ok(ring) => {
                *view = View {
                    ring: Arc::new(ring),
                    lost_since: None,
                }
            }
            Err(_) => {
                view.lost_since.get_or_insert_with(Instant::now);
            }
        });
        tokio::select! {
            changed = revision.changed() => if changed.is_err() { return },
            changed = link.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RETRY), if connected && !current => {}
        }
    }
}
