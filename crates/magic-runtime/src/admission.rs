//! Who may run now, who waits, and who is sent away.
//!
//! Two bounds hold at once: one per controller, so that a burst of one does not
//! fill the machine, and one for all. Both waiting rooms are bounded in length
//! and in time; beyond either the answer is E3005 with a time to come back.

use magic_contract::{ErrorCode, Failure, Reason};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// The door of one controller.
#[derive(Debug)]
pub(crate) struct Admission {
    own: Arc<Semaphore>,
    all: Arc<Semaphore>,
    waiting: AtomicU32,
    queue: u32,
    patience: Duration,
}

/// The right to run one request. Its process and its commit share it until
/// both are over, so that the bound is one of work and not of answers: a client
/// that hangs up does not make room while what it began goes on.
#[derive(Debug)]
pub(crate) struct Permit {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Admission {
    pub(crate) fn new(
        all: Arc<Semaphore>,
        concurrency: u32,
        queue: u32,
        patience: Duration,
    ) -> Self {
        Self {
            own: Arc::new(Semaphore::new(concurrency as usize)),
            all,
            waiting: AtomicU32::new(0),
            queue,
            patience,
        }
    }

    /// How many wait for a place.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many places of the controller's own are free.
    pub(crate) fn free(&self) -> u64 {
        self.own.available_permits() as u64
    }

    /// Waits for a place for as long as it takes, in line with everybody else,
    /// for one whom nobody is waiting for.
    pub(crate) async fn enter_unhurried(&self) -> Permit {
        loop {
            let own = self.own.clone().acquire_owned().await;
            let all = self.all.clone().acquire_owned().await;
            // Neither is ever closed.
            if let (Ok(own), Ok(all)) = (own, all) {
                return Permit {
                    _own: own,
                    _all: all,
                };
            }
        }
    }

    /// Waits for a place.
    ///
    /// # Errors
    ///
    /// E3005 when too many wait already, or none came free in time.
    pub(crate) async fn enter(&self) -> Result<Permit, Failure> {
        // The common case takes no timer and counts nobody as waiting.
        if let Ok(own) = self.own.clone().try_acquire_owned()
            && let Ok(all) = self.all.clone().try_acquire_owned()
        {
            return Ok(Permit {
                _own: own,
                _all: all,
            });
        }
        let _waiting = Waiting::count(&self.waiting, self.queue)?;
        let deadline = Instant::now() + self.patience;
        let both = async {
            let own = self.own.clone().acquire_owned().await.ok()?;
            let all = self.all.clone().acquire_owned().await.ok()?;
            Some(Permit {
                _own: own,
                _all: all,
            })
        };
        match timeout_at(deadline, both).await {
            Ok(Some(permit)) => Ok(permit),
            Ok(None) | Err(_) => Err(no_place("no place came free in time")),
        }
    }
}

/// One who waits; leaves the count when dropped, also when the client goes away.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn count(waiting: &'a AtomicU32, limit: u32) -> Result<Self, Failure> {
        if waiting.fetch_add(1, Ordering::Relaxed) >= limit {
            waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(no_place(
                "too many requests of this controller wait already",
            ));
        }
        Ok(Self(waiting))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// E3005 because of load.
pub(crate) fn no_place(message: &str) -> Failure {
    Failure::new(ErrorCode::NoCapacity, message).with_reason(Reason::Queue)
}

#[cfg(test)]
mod tests {
    use super::Admission;
    use magic_contract::ErrorCode;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::sync::Semaphore;

    fn door(all: usize, concurrency: u32, queue: u32) -> Admission {
        Admission::new(
            Arc::new(Semaphore::new(all)),
            concurrency,
            queue,
            Duration::from_millis(1),
        )
    }

    #[tokio::test]
    async fn places_are_bounded_and_come_back() {
        let door = door(8, 1, 1);
        let permit = door.enter().await.expect("the first has a place");
        let refused = door.enter().await.expect_err("the second waits in vain");
        assert_eq!(refused.code, ErrorCode::NoCapacity);
        drop(permit);
        door.enter().await.expect("the place came back");
    }

    #[tokio::test]
    async fn a_full_waiting_room_refuses_at_once() {
        let door = door(8, 1, 0);
        let _permit = door.enter().await.expect("the first has a place");
        assert!(
            door.enter()
                .await
                .expect_err("nobody may wait")
                .message
                .contains("too many")
        );
    }

    #[tokio::test]
    async fn the_bound_of_all_holds_across_controllers() {
        let all = Arc::new(Semaphore::new(1));
        let one = Admission::new(all.clone(), 4, 4, Duration::from_millis(1));
        let other = Admission::new(all, 4, 4, Duration::from_millis(1));
        let _permit = one.enter().await.expect("the first has a place");
        other.enter().await.expect_err("the machine is full");
    }
}
