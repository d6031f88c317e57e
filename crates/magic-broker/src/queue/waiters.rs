//! Who waits for a message of which queue, within this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::Notify;

/// One bell for each queue that somebody waits for.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    bells: Mutex<HashMap<String, Weak<Notify>>>,
}

impl Waiters {
    /// The bell of one queue. It rings for those who listened before.
    pub(crate) fn bell(&self, queue: &str) -> Arc<Notify> {
        let mut bells = self.lock();
        if let Some(bell) = bells.get(queue).and_then(Weak::upgrade) {
            return bell;
        }
        bells.retain(|_, bell| bell.strong_count() > 0);
        let bell = Arc::new(Notify::new());
        bells.insert(queue.to_owned(), Arc::downgrade(&bell));
        bell
    }

    /// Rings for one queue.
    pub(crate) fn ring(&self, queue: &str) {
        let bell = self.lock().get(queue).and_then(Weak::upgrade);
        if let Some(bell) = bell {
            bell.notify_waiters();
        }
    }

    /// Rings for all, since something may have been missed.
    pub(crate) fn ring_all(&self) {
        let bells: Vec<_> = self.lock().values().filter_map(Weak::upgrade).collect();
        for bell in bells {
            bell.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Weak<Notify>>> {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bell rings for its own queue alone, and unused bells are forgotten.
    #[tokio::test]
    async fn bells_ring_for_their_queue() {
        let waiters = Waiters::default();
        let (first, second) = (waiters.bell("a"), waiters.bell("b"));
        let mut heard = Box::pin(first.notified());
        let mut other = Box::pin(second.notified());
        heard.as_mut().enable();
        other.as_mut().enable();
        waiters.ring("a");
        heard.await;
        assert!(!other.as_mut().enable());
        waiters.ring_all();
        other.await;
        drop((first, second));
        waiters.bell("c");
        assert_eq!(waiters.lock().len(), 1);
    }
}
