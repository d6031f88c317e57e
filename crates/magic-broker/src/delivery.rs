//! Brings committed effects to their queues and caches.
//!
//! One task per process takes what waits in the outbox, applies it and removes
//! it. It works in passes, so that the effects of many requests share the
//! transactions that claim and remove them. What fails is tried again later, and
//! holds back what its request wanted to happen after it.
//!
//! A request that wrote to the cache waits a moment for its pass
//! ([`Deliverer::settled`]): whoever got its answer, and asks again, expects to
//! see what was written. The moment is bounded, since an answer must not depend
//! on a cache.

use crate::cache::Cache;
use crate::db::{Claimed, Outbox, OutboxId};
use crate::effects::deliver;
use crate::queue::Queues;
use std::collections::HashSet;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// Effects of one pass.
const AT_ONCE: u32 = 256;
/// After this long a claim of a dead process comes back.
const LEASE: Duration = Duration::from_secs(5);
/// No delivery begins so late in a lease that it could outlast it.
const BEGIN_WITHIN: Duration = Duration::from_secs(3);
/// One delivery; a back end that takes longer has failed.
const EACH: Duration = Duration::from_secs(1);
/// How often the outbox is looked at without being told, for what other
/// processes have left.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long an answer waits for its cache entries at most.
const SETTLES_WITHIN: Duration = Duration::from_millis(100);
/// The first pause after a failure; doubled with each attempt up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LAST_PAUSE: Duration = Duration::from_secs(60);
/// What can never be delivered is kept for a person to look at, and tried so
/// seldom that it costs nothing.
const HOPELESS_PAUSE: Duration = Duration::from_secs(3600);

/// The task's state.
#[derive(Debug)]
pub struct Deliverer {
    outbox: Outbox,
    queues: Queues,
    cache: Cache,
    passes: watch::Sender<Passes>,
}

/// How many passes have begun and ended.
#[derive(Debug, Clone, Copy, Default)]
struct Passes {
    begun: u64,
    ended: u64,
}

impl Deliverer {
    /// A deliverer that does nothing until it [runs](Self::run).
    #[must_use]
    pub fn new(outbox: Outbox, queues: Queues, cache: Cache) -> Self {
        Self {
            outbox,
            queues,
            cache,
            passes: watch::Sender::new(Passes::default()),
        }
    }

    /// Delivers for ever. Dropping the future loses nothing: what it had claimed
    /// is claimed again when the lease is over.
    pub async fn run(&self) {
        loop {
            self.passes.send_modify(|passes| passes.begun += 1);
            let full = self.pass().await;
            self.passes
                .send_modify(|passes| passes.ended = passes.begun);
            if !full {
                // Whichever comes first; both mean only that it is time to look.
                let _ = timeout(LOOK_EVERY, self.outbox.wait()).await;
            }
        }
    }

    /// Ends when everything that was committed before this call has had its
    /// turn, or after a tenth of a second.
    pub async fn settled(&self) {
        // A pass under way may have looked before the commit.
        let wanted = self.passes.borrow().begun + 1;
        let mut passes = self.passes.subscribe();
        let wait = passes.wait_for(|passes| passes.ended >= wanted);
        let _ = timeout(SETTLES_WITHIN, wait).await;
    }

    /// Delivers what is due; whether there may be more.
    async fn pass(&self) -> bool {
        let until = Instant::now() + BEGIN_WITHIN;
        let claimed = match self.outbox.claim(AT_ONCE, LEASE).await {
            Ok(claimed) => claimed,
            Err(failure) => {
                tracing::warn!(
                    internal = failure.internal,
                    "the outbox could not be read: {}",
                    failure.message
                );
                return false;
            }
        };
        let full = claimed.len() >= AT_ONCE as usize;
        let mut delivered = Vec::with_capacity(claimed.len());
        let mut failed: HashSet<&str> = HashSet::new();
        for one in &claimed {
            // The order within a request holds only if nothing overtakes.
            if failed.contains(one.request.as_str()) || Instant::now() >= until {
                failed.insert(&one.request);
                continue;
            }
            match self.deliver(one).await {
                Ok(()) => delivered.push(one.id),
                Err(pause) => {
                    failed.insert(&one.request);
                    self.give_back(one.id, pause).await;
                }
            }
        }
        if let Err(failure) = self.outbox.done(&delivered).await {
            tracing::warn!(
                internal = failure.internal,
                "delivered effects could not be removed and will be delivered again: {}",
                failure.message
            );
        }
        full && failed.is_empty()
    }

    /// Applies one effect, or says how long to leave it alone.
    async fn deliver(&self, one: &Claimed) -> Result<(), Duration> {
        let applied = timeout(EACH, deliver(&one.effect, &self.queues, &self.cache)).await;
        let (error, retriable) = match applied {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => (error.to_string(), error.is_retriable()),
            Err(_) => (format!("no answer within {EACH:?}"), true),
        };
        if retriable {
            tracing::warn!(
                request = one.request,
                attempts = one.attempts,
                error,
                "an effect could not be delivered yet"
            );
            Err(pause_after(one.attempts))
        } else {
            tracing::error!(
                request = one.request,
                error,
                "an effect cannot be delivered; it is kept in the outbox"
            );
            Err(HOPELESS_PAUSE)
        }
    }

    async fn give_back(&self, id: OutboxId, pause: Duration) {
        if let Err(failure) = self.outbox.failed(&[id], pause).await {
            tracing::warn!(
                internal = failure.internal,
                "an effect could not be given back to the outbox: {}",
                failure.message
            );
        }
    }
}

fn pause_after(attempts: u32) -> Duration {
    FIRST_PAUSE
        .saturating_mul(1 << attempts.min(16))
        .min(LAST_PAUSE)
}
