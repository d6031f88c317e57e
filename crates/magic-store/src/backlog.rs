//! What waits to be written elsewhere, bounded: a place where a hot path puts things down and goes on.
//!
//! Putting something down never waits and never fails. Beyond the bound the oldest goes and is counted, because whoever looks
//! later looks for what happened last. Whoever takes things away in order can say how far they have come by one number, since
//! everything that was put down gets the next one.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Things that wait, each with a weight in bytes.
#[derive(Debug)]
pub struct Backlog<T> {
    limit: usize,
    waiting: Mutex<Waiting<T>>,
    filled: Notify,
}

#[derive(Debug)]
struct Waiting<T> {
    items: VecDeque<(T, usize)>,
    weight: usize,
    pushed: u64,
    dropped: u64,
}

impl<T> Backlog<T> {
    /// An empty one that holds things of at most so many bytes together, and at least one thing.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            waiting: Mutex::new(Waiting {
                items: VecDeque::new(),
                weight: 0,
                pushed: 0,
                dropped: 0,
            }),
            filled: Notify::new(),
        }
    }

    /// Puts something down; the oldest things go if there is no room.
    pub fn push(&self, item: T, weight: usize) {
        let mut gone = Vec::new();
        let mut waiting = self.lock();
        waiting.pushed += 1;
        waiting.weight += weight;
        waiting.items.push_back((item, weight));
        while waiting.weight > self.limit && waiting.items.len() > 1 {
            let Some((oldest, weight)) = waiting.items.pop_front() else {
                break;
            };
            waiting.weight -= weight;
            waiting.dropped += 1;
            gone.push(oldest);
        }
        drop(waiting);
        // What they own is given back outside of the lock.
        drop(gone);
        self.filled.notify_one();
    }

    /// Takes the oldest things, at most `count` and about `weight` bytes, but at least one if there is one. The number tells how
    /// many of all that were ever put down have gone by then.
    pub fn take(&self, count: usize, weight: usize) -> (Vec<T>, u64) {
        let mut waiting = self.lock();
        let mut taken = Vec::new();
        let mut taken_weight = 0;
        while taken.len() < count && (taken.is_empty() || taken_weight < weight) {
            let Some((item, weight)) = waiting.items.pop_front() else {
                break;
            };
            taken_weight += weight;
            taken.push(item);
        }
        waiting.weight -= taken_weight;
        let gone = waiting.pushed - waiting.items.len() as u64;
        (taken, gone)
    }

    /// How many were ever put down.
    pub fn pushed(&self) -> u64 {
        self.lock().pushed
    }

    /// How many went because there was no room.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Ends when there is something to take. For one who takes.
    pub async fn filled(&self) {
        while self.lock().items.is_empty() {
            self.filled.notified().await;
        }
    }

    /// Nothing that is done under the lock panics half-way in a way that matters.
    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The oldest goes beyond the bound and is counted, and the numbers of what was taken leave no gap.
    #[test]
    fn the_oldest_goes() {
        let backlog = Backlog::new(30);
        for item in 0..5 {
            backlog.push(item, 10);
        }
        assert_eq!((backlog.pushed(), backlog.dropped()), (5, 2));
        assert_eq!(backlog.take(2, 1_000), (vec![2, 3], 4));
        assert_eq!(backlog.take(2, 1_000), (vec![4], 5));
        assert_eq!(backlog.take(2, 1_000), (vec![], 5));
        // One that is larger than all the room has it to itself.
        backlog.push(5, 10);
        backlog.push(6, 100);
        assert_eq!(backlog.take(9, 1), (vec![6], 7));
        assert_eq!(backlog.dropped(), 3);
    }
}
