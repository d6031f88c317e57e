//! Who deploys when.
//!
//! Deploys of one controller take turns on a node: each is compared with the
//! version that is active when it begins to be judged, and that must still be
//! the active one when it commits. Deploys of different controllers go side by
//! side, but not arbitrarily many, since each has its files in memory and an
//! interpreter that starts.

use magic_contract::{ErrorCode, Failure, Reason};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

/// Deploys that work at once.
const AT_ONCE: usize = 4;

/// Deploys that work or wait; each waits with its files in memory.
const WAITING: usize = 32;

/// The turns of one node.
#[derive(Debug)]
pub(super) struct Turns {
    places: Arc<Semaphore>,
    working: Arc<Semaphore>,
    names: Mutex<BTreeMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

/// A turn; the next one begins when it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _working: OwnedSemaphorePermit,
    _name: OwnedMutexGuard<()>,
    _place: OwnedSemaphorePermit,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(WAITING)),
            working: Arc::new(Semaphore::new(AT_ONCE)),
            names: Mutex::default(),
        }
    }
}

impl Turns {
    /// Waits for the turn of a deploy of this controller.
    ///
    /// # Errors
    ///
    /// E3005 when too many wait already.
    pub(super) async fn take(&self, name: &str) -> Result<Turn, Failure> {
        let full = |_| {
            Failure::new(
                ErrorCode::NoCapacity,
                "too many deploys wait for their turn; try again",
            )
            .with_reason(Reason::Queue)
        };
        let place = self.places.clone().try_acquire_owned().map_err(full)?;
        // The name first: whoever waits for it takes nobody's place.
        let name = self.of(name).lock_owned().await;
        let working = self.working.clone().acquire_owned().await;
        Ok(Turn {
            _working: working.expect("the semaphore is never closed"),
            _name: name,
            _place: place,
        })
    }

    fn of(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = names.get(name).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        names.insert(name.to_owned(), Arc::downgrade(&turn));
        turn
    }
}
