//! Run logs: one ring of lines per controller, bounded by bytes.
//!
//! Bytes, not lines, are what must be bounded, since the writer is hostile: a controller may write a million empty lines or
//! one enormous one. Three limits hold at every moment. A line has a largest size (the rest is cut off and the line says
//! so), a controller has a share, and all controllers together have a total. When the total is exceeded, lines go from the
//! controller that holds the most, so that a noisy controller cannot push a quiet one's last words out.
//!
//! Sequence numbers are assigned here, per controller, starting at 1 and without holes. A reader that knows the number of
//! the last line it saw can therefore tell exactly how many lines it missed, which is why a subscription needs no buffer of
//! its own: it reads the shared ring by number (see [`Subscription`]).
//!
//! One mutex guards everything. It is held for the few hundred nanoseconds of a push, never across an await, and never
//! while a line is measured or cut.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::Backlog;

mod line;
mod subscription;
#[cfg(test)]
mod tests;

pub use line::{Level, LogLine, Stream};
pub use subscription::{Followed, Subscription};

/// How much memory the run logs may take. All numbers are bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunLogLimits {
    /// The largest message, and separately the largest set of fields, that one line keeps.
    pub line_bytes: usize,
    /// What the lines of one controller may take.
    pub controller_bytes: usize,
    /// What the lines of all controllers together may take.
    pub total_bytes: usize,
}

impl Default for RunLogLimits {
    fn default() -> Self {
        Self {
            line_bytes: 16 * 1024,
            controller_bytes: 4 * 1024 * 1024,
            total_bytes: 64 * 1024 * 1024,
        }
    }
}

/// What is kept of one controller's log, and what had to go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogStatistics {
    /// Lines kept.
    pub lines: usize,
    /// Bytes that they are counted as.
    pub bytes: usize,
    /// Lines dropped since the first one, to stay within a limit.
    pub dropped: u64,
    /// The sequence number of the newest line; 0 before the first.
    pub newest: u64,
}

/// The run logs of all controllers. A clone is a handle on the same logs.
#[derive(Debug, Clone, Default)]
pub struct RunLogs {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    limits: RunLogLimits,
    /// Where every line goes as well.
    outlet: Option<Arc<Backlog<Arc<LogLine>>>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    rings: HashMap<String, Ring>,
    bytes: usize,
}

/// One controller's lines, oldest first.
#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<Kept>,
    bytes: usize,
    dropped: u64,
    newest: u64,
    /// Wakes the subscriptions of this ring after every append, and when the ring is forgotten.
    changed: Arc<Notify>,
}

#[derive(Debug)]
struct Kept {
    line: Arc<LogLine>,
    bytes: usize,
}

impl RunLogs {
    /// Empty logs under the given limits.
    #[must_use]
    pub fn new(limits: RunLogLimits) -> Self {
        Self::with(limits, None)
    }

    /// Empty logs whose lines are also put down, in their order, for whoever keeps them elsewhere.
    #[must_use]
    pub fn with_outlet(limits: RunLogLimits, outlet: Arc<Backlog<Arc<LogLine>>>) -> Self {
        Self::with(limits, Some(outlet))
    }

    fn with(limits: RunLogLimits, outlet: Option<Arc<Backlog<Arc<LogLine>>>>) -> Self {
        Self {
            shared: Arc::new(Shared {
                limits,
                outlet,
                state: Mutex::default(),
            }),
        }
    }

    /// Appends a line, cuts it to the largest size, and returns the sequence number that it was given (what the line says
    /// in `sequence` is ignored). Never fails and never waits for a reader.
    pub fn append(&self, mut line: LogLine) -> u64 {
        let limits = self.shared.limits;
        line.cut_to(limits.line_bytes);
        let bytes = line.weight();
        let mut state = self.lock();
        let State { rings, bytes: all } = &mut *state;
        // The common case finds the ring, and then the name is not copied.
        let ring = match rings.get_mut(&line.controller) {
            Some(ring) => ring,
            None => rings.entry(line.controller.clone()).or_default(),
        };
        ring.newest += 1;
        let sequence = ring.newest;
        line.sequence = sequence;
        let line = Arc::new(line);
        ring.lines.push_back(Kept {
            line: Arc::clone(&line),
            bytes,
        });
        ring.bytes += bytes;
        *all += bytes;
        while ring.bytes > limits.controller_bytes && ring.lines.len() > 1 {
            *all -= ring.drop_oldest();
        }
        let changed = Arc::clone(&ring.changed);
        state.shrink_to(limits.total_bytes);
        if let Some(outlet) = &self.shared.outlet {
            // Under the lock, so that lines of one controller do not pass each other.
            outlet.push(line, bytes);
        }
        drop(state);
        changed.notify_waiters();
        sequence
    }

    /// Lines of a controller, oldest first: with `after`, the first `limit` lines that are newer than that sequence number;
    /// without, the newest `limit`. A number that was never given out counts as 0: it comes from an earlier life of this
    /// process, so that every line kept is new to whoever asks. An unknown controller has no lines.
    #[must_use]
    pub fn tail(&self, controller: &str, after: Option<u64>, limit: usize) -> Vec<Arc<LogLine>> {
        let state = self.lock();
        let Some(ring) = state.rings.get(controller) else {
            return Vec::new();
        };
        let first = match after {
            Some(after) => ring.index_after(after),
            None => ring.lines.len().saturating_sub(limit),
        };
        ring.lines
            .range(first..)
            .take(limit)
            .map(|kept| Arc::clone(&kept.line))
            .collect()
    }

    /// Follows a controller's log from the line after `after` on; without a number, from now on. The controller need not
    /// have written anything yet.
    #[must_use]
    pub fn subscribe(&self, controller: &str, after: Option<u64>) -> Subscription {
        let mut state = self.lock();
        let ring = state.rings.entry(controller.to_owned()).or_default();
        let seen = match after {
            Some(after) if after <= ring.newest => after,
            Some(_) => 0,
            None => ring.newest,
        };
        let changed = Arc::clone(&ring.changed);
        drop(state);
        Subscription::new(self.clone(), controller.to_owned(), seen, changed)
    }

    /// What is kept of a controller's log; `None` if it never wrote anything.
    #[must_use]
    pub fn statistics(&self, controller: &str) -> Option<LogStatistics> {
        self.lock().rings.get(controller).map(|ring| LogStatistics {
            lines: ring.lines.len(),
            bytes: ring.bytes,
            dropped: ring.dropped,
            newest: ring.newest,
        })
    }

    /// The bytes that all lines are counted as together.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Drops a controller's log and ends its subscriptions. For controllers that are no longer deployed.
    pub fn forget(&self, controller: &str) {
        let mut state = self.lock();
        let removed = state.rings.remove(controller);
        if let Some(ring) = removed {
            state.bytes -= ring.bytes;
            drop(state);
            ring.changed.notify_waiters();
        }
    }

    /// A panic while the lock was held cannot have left a ring half changed in a way that matters more than losing all logs.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Drops lines of whoever holds the most until the total fits. A sixteenth more than needed goes, so that the search for
    /// the fattest ring is not repeated for every line of a flood.
    fn shrink_to(&mut self, total: usize) {
        if self.bytes <= total {
            return;
        }
        let goal = total - total / 16;
        while self.bytes > goal {
            let Some(fattest) = self.rings.values_mut().max_by_key(|ring| ring.bytes) else {
                return;
            };
            let excess = self.bytes - goal;
            let mut freed = 0;
            let half = fattest.bytes / 2;
            // At most half of it, then look again: two noisy controllers share the loss. At least one line, or it never ends.
            while freed < excess && !fattest.lines.is_empty() && (freed == 0 || freed < half) {
                freed += fattest.drop_oldest();
            }
            if freed == 0 {
                return;
            }
            self.bytes -= freed;
        }
    }
}

impl Ring {
    /// Drops the oldest line and returns its bytes.
    fn drop_oldest(&mut self) -> usize {
        let Some(kept) = self.lines.pop_front() else {
            return 0;
        };
        self.bytes -= kept.bytes;
        self.dropped += 1;
        kept.bytes
    }

    /// Where in the ring the first line newer than `after` is. Numbers have no holes, so this is arithmetic, not a search.
    fn index_after(&self, after: u64) -> usize {
        if after > self.newest {
            return 0;
        }
        let newer = usize::try_from(self.newest - after).unwrap_or(usize::MAX);
        self.lines.len().saturating_sub(newer)
    }
}
