//! What starts controllers besides HTTP: the messages of a queue.
//!
//! A version whose contract says `triggers: - queue: x` has one *consumer* per
//! queue. A consumer waits for messages, takes one only when it has a place to
//! run it in, and runs it through the same path as a request: the body is the
//! input, and the acknowledgement is one more effect of the request's success.
//!
//! **What becomes of a message.**
//!
//! - Success: the acknowledgement is committed with the rows and the other
//!   effects, and delivered from the outbox.
//! - Failure: it is tried again after a pause that doubles, and becomes a dead
//!   letter (`x.dead`) after the queue's number of attempts, with the error
//!   code as its reason.
//! - An input that this version can never accept: a dead letter at once.
//! - No capacity: it stays where it is and waits, since it is not the message
//!   that failed.
//! - COMMIT with an unknown end: it is left to its lease. If the transaction
//!   took place, the acknowledgement is in the outbox and ends the lease first.
//!
//! **At least once.** A lease keeps a message from other consumers for
//! [`LEASE`], and is extended while its request runs. A supervisor that is
//! killed takes no message along: after the lease the message is handed out
//! again. With `effects: on_success` a message whose effects are committed is
//! run again only if its acknowledgement could not be delivered within what was
//! left of its lease. With `effects: immediate` everything that happened before
//! a crash, or before a failure, happens again with the next attempt, and a
//! controller must be able to bear that.
//!
//! **Ends.** A consumer belongs to one deployment. When that is replaced,
//! removed or drained, it takes no further message, runs to their end those that
//! it has, on its own version, and is gone.

mod consumer;

use crate::deployment::Deployment;
use crate::runtime::Shared;
use consumer::Consumer;
use magic_contract::Trigger;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a message is hidden at a time while its request runs.
const LEASE: Duration = Duration::from_secs(15);

/// How long consumers may take to give back what was cut off.
const GIVE_BACK: Duration = Duration::from_secs(5);

/// All consumers of a runtime.
#[derive(Debug)]
pub(crate) struct Triggers {
    /// Whether messages start anything yet.
    started: AtomicBool,
    tasks: TaskTracker,
    /// Take no further message.
    stop: CancellationToken,
    /// End what runs, too.
    cut: CancellationToken,
}

impl Triggers {
    pub(crate) fn new() -> Self {
        Self {
            started: AtomicBool::new(false),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
        }
    }

    /// Ends when no further message is taken.
    pub(crate) async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Takes no further message.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
    }

    /// Waits until everything that was taken has ended, at most `patience`, and
    /// then ends the rest.
    pub(crate) async fn finish(&self, patience: Duration) {
        if tokio::time::timeout(patience, self.tasks.wait())
            .await
            .is_ok()
        {
            return;
        }
        self.cut.cancel();
        if tokio::time::timeout(GIVE_BACK, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("some messages are handed out again only after their lease");
        }
    }
}

/// Starts the consumers of everything in service, and from now on of
/// everything that is deployed.
pub(crate) fn start(shared: &Arc<Shared>) {
    shared.triggers.started.store(true, Ordering::SeqCst);
    for serving in shared.registry.all() {
        follow(shared, &serving.active);
    }
}

/// Starts the consumers of one deployment, once.
pub(crate) fn follow(shared: &Arc<Shared>, deployment: &Arc<Deployment>) {
    let triggers = &shared.triggers;
    // Whoever deploys puts first and comes here second, and whoever starts says
    // so first and looks second; so one of the two finds both.
    if !triggers.started.load(Ordering::SeqCst) {
        return;
    }
    let Some(services) = &shared.services else {
        return;
    };
    if deployment.followed.swap(true, Ordering::SeqCst) {
        return;
    }
    for trigger in &deployment.contract().triggers {
        let Trigger::Queue(queue) = trigger else {
            continue;
        };
        let consumer = Consumer::new(
            shared.clone(),
            deployment.clone(),
            services.backends.queues.clone(),
            queue,
        );
        triggers.tasks.spawn(consumer.run());
    }
}
