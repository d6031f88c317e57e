//! Following a log.
//!
//! A subscription is a position in the shared ring, not a queue: it remembers the number of the last line that its reader
//! saw and reads on from there. A reader that stops costs nothing, however long it stops; when it comes back, the hole
//! between its position and the oldest line kept is exactly what it missed, and it is told so before the next line.

use std::sync::Arc;

use tokio::sync::Notify;

use super::{LogLine, RunLogs};

/// How many lines one read takes at most, so that a reader far behind holds the lock only shortly.
const BATCH: usize = 256;

/// What a follower gets next.
#[derive(Debug, Clone, PartialEq)]
pub enum Followed {
    /// This many lines were dropped before the reader came to them.
    Missed(u64),
    /// The next lines, oldest first, at least one.
    Lines(Vec<Arc<LogLine>>),
}

/// A reader's position in one controller's log.
#[derive(Debug)]
pub struct Subscription {
    logs: RunLogs,
    controller: String,
    seen: u64,
    changed: Arc<Notify>,
}

impl Subscription {
    pub(super) fn new(logs: RunLogs, controller: String, seen: u64, changed: Arc<Notify>) -> Self {
        Self {
            logs,
            controller,
            seen,
            changed,
        }
    }

    /// Waits for the next lines. `None` when the log was forgotten, and then for ever. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Followed> {
        // The handle is cloned so that the future below does not borrow what `read` changes.
        let changed = Arc::clone(&self.changed);
        loop {
            let woken = changed.notified();
            tokio::pin!(woken);
            // Registered before the ring is read, so that a line appended in between wakes us.
            woken.as_mut().enable();
            match self.read() {
                Read::Gone => return None,
                Read::Some(followed) => return Some(followed),
                Read::Nothing => woken.await,
            }
        }
    }

    /// The number of the last line (or the last missed one) that this reader was given.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.seen
    }

    fn read(&mut self) -> Read {
        let state = self.logs.lock();
        // A log that was forgotten and begun anew is another log; its numbers start again.
        let Some(ring) = state
            .rings
            .get(&self.controller)
            .filter(|ring| Arc::ptr_eq(&ring.changed, &self.changed))
        else {
            return Read::Gone;
        };
        if ring.newest == self.seen {
            return Read::Nothing;
        }
        let kept = u64::try_from(ring.lines.len()).unwrap_or(u64::MAX);
        let last_dropped = ring.newest - kept;
        if self.seen < last_dropped {
            let missed = last_dropped - self.seen;
            self.seen = last_dropped;
            return Read::Some(Followed::Missed(missed));
        }
        let lines: Vec<_> = ring
            .lines
            .range(ring.index_after(self.seen)..)
            .take(BATCH)
            .map(|kept| Arc::clone(&kept.line))
            .collect();
        if let Some(last) = lines.last() {
            self.seen = last.sequence;
        }
        Read::Some(Followed::Lines(lines))
    }
}

enum Read {
    Nothing,
    Some(Followed),
    Gone,
}
