//! Between those who make records and the thread that writes them.
//!
//! The queue is bounded by bytes. Whoever can wait for room waits ([`AuditLog::append_waiting`](super::AuditLog::append_waiting));
//! whoever cannot is told at once that the record was refused, by a ticket that never becomes durable. A refusal is counted, and the
//! count becomes a record of its own as soon as there is room, so that even a gap is not silent.
//!
//! Records are written as soon as somebody waits for one of them. Until then they gather for a moment: most requests are answered
//! without waiting for their record, and a sync for each would cost more than the requests do.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{Semaphore, oneshot, watch};

/// What a queued record weighs beside its text, in bytes, roughly.
const OVERHEAD: usize = 256;

/// How long records gather that nobody waits for.
const GATHERING: Duration = Duration::from_millis(20);
/// So many records are enough for one write, whoever waits.
const ENOUGH: usize = 256;

/// Why a record is not durable, and never will be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuditFailed {
    /// The log could not be written. It acknowledges nothing any more: after a failed write or sync nobody knows what is on the
    /// disk, and trying again would report a success that means nothing.
    #[error("the audit log has stopped: {0}")]
    Stopped(Arc<str>),
    /// There is no room: records are made faster than the disk takes them. Nothing was written.
    #[error("the audit log takes no more records now; its disk is too slow")]
    Full,
    /// The log was closed.
    #[error("the audit log is closed")]
    Closed,
}

/// What a record waits for: being on stable storage.
#[derive(Debug)]
#[must_use = "a record is not durable before its ticket says so"]
pub struct Ticket(State);

#[derive(Debug)]
enum State {
    Waiting {
        answer: oneshot::Receiver<Result<u64, AuditFailed>>,
        queue: Arc<Shared>,
    },
    Refused(AuditFailed),
}

impl Ticket {
    pub(super) fn refused(why: AuditFailed) -> Self {
        Self(State::Refused(why))
    }

    /// Whether the record was not even taken.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self.0, State::Refused(_))
    }

    /// Ends when the record is durable, and tells its number. May be dropped at any time; the record is written all the same.
    ///
    /// # Errors
    /// When it is not durable and never will be.
    pub async fn durable(self) -> Result<u64, AuditFailed> {
        match self.0 {
            State::Waiting { answer, queue } => {
                queue.hurry();
                answer
                    .await
                    .unwrap_or_else(|_| Err(AuditFailed::Stopped("its thread ended early".into())))
            }
            State::Refused(why) => Err(why),
        }
    }
}

/// A record in the queue.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) time: Timestamp,
    /// The record's JSON without its time.
    pub(super) timeless: String,
    pub(super) answer: Option<oneshot::Sender<Result<u64, AuditFailed>>>,
}

impl Pending {
    /// Tells whoever waits, if anybody still does.
    pub(super) fn answer(self, result: Result<u64, AuditFailed>) {
        if let Some(answer) = self.answer {
            let _ = answer.send(result);
        }
    }
}

/// What both sides share.
#[derive(Debug)]
pub(super) struct Shared {
    queue: Mutex<Queue>,
    /// Wakes the writing thread.
    changed: Condvar,
    /// One permit for each byte that the queue may still take.
    room: Semaphore,
    capacity: usize,
    /// Number and hash of the last entry that is on stable storage.
    end: Mutex<Option<(u64, String)>>,
    /// Records that were taken and are not written.
    unwritten: AtomicU64,
    /// True when the writing thread has ended and let go of its files.
    ended: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Queue {
    pending: VecDeque<Pending>,
    /// Records that were refused for want of room, not yet told in the log.
    refused: u64,
    /// When the oldest of `pending` came.
    since: Option<Instant>,
    /// Somebody waits for one of `pending`.
    hurry: bool,
    closing: bool,
    failed: Option<AuditFailed>,
}

/// What the writing thread is to do next.
#[derive(Debug)]
pub(super) enum Work {
    /// Write these, and that so many were refused.
    Group(VecDeque<Pending>, u64),
    /// Nothing came until the given time.
    Idle,
    /// Nothing will come any more.
    End,
}

impl Shared {
    pub(super) fn new(capacity: usize) -> Self {
        // A single acquisition counts in 32 bits.
        let capacity = capacity.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Self {
            queue: Mutex::default(),
            changed: Condvar::new(),
            room: Semaphore::new(capacity),
            capacity,
            end: Mutex::default(),
            unwritten: AtomicU64::new(0),
            ended: watch::Sender::new(false),
        }
    }

    /// Notes that everything up to this entry is on stable storage.
    pub(super) fn reached(&self, seq: u64, hash: String) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some((seq, hash));
    }

    /// The last entry that is on stable storage; `None` before the first of this life.
    pub(super) fn end(&self) -> Option<(u64, String)> {
        self.end
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a record takes of the room. A record larger than all of it takes all of it, and so is written alone.
    fn weight(&self, timeless: &str) -> u32 {
        u32::try_from((timeless.len() + OVERHEAD).min(self.capacity)).unwrap_or(u32::MAX)
    }

    /// Takes a record if there is room.
    pub(super) fn push(self: &Arc<Self>, timeless: String) -> Ticket {
        match self.room.try_acquire_many(self.weight(&timeless)) {
            Ok(permit) => {
                permit.forget();
                self.enqueue(timeless)
            }
            Err(_) => {
                let mut queue = self.lock();
                if let Some(failed) = &queue.failed {
                    return Ticket::refused(failed.clone());
                }
                queue.refused += 1;
                drop(queue);
                self.changed.notify_one();
                Ticket::refused(AuditFailed::Full)
            }
        }
    }

    /// Takes a record as soon as there is room.
    pub(super) async fn push_waiting(self: &Arc<Self>, timeless: String) -> Ticket {
        // Closed means failed, and then the queue says why.
        if let Ok(permit) = self.room.acquire_many(self.weight(&timeless)).await {
            permit.forget();
        }
        self.enqueue(timeless)
    }

    fn enqueue(self: &Arc<Self>, timeless: String) -> Ticket {
        let (sender, receiver) = oneshot::channel();
        let mut queue = self.lock();
        if let Some(failed) = &queue.failed {
            return Ticket::refused(failed.clone());
        }
        if queue.closing {
            return Ticket::refused(AuditFailed::Closed);
        }
        // Taken inside of the lock, so that times rise with numbers as far as the clock does.
        queue.pending.push_back(Pending {
            time: Timestamp::now(),
            timeless,
            answer: Some(sender),
        });
        let first = queue.since.is_none();
        queue.since.get_or_insert_with(Instant::now);
        let enough = queue.pending.len() >= ENOUGH;
        self.unwritten.fetch_add(1, Ordering::Relaxed);
        drop(queue);
        if first || enough {
            self.changed.notify_one();
        }
        Ticket(State::Waiting {
            answer: receiver,
            queue: Arc::clone(self),
        })
    }

    /// Lets what is pending be written now.
    fn hurry(&self) {
        let mut queue = self.lock();
        // Otherwise it is being written already.
        if queue.since.is_some() && !queue.hurry {
            queue.hurry = true;
            drop(queue);
            self.changed.notify_one();
        }
    }

    /// Waits for work, at most until `due`.
    pub(super) fn next(&self, due: Option<Instant>) -> Work {
        let mut queue = self.lock();
        loop {
            if queue.failed.is_some() {
                return Work::End;
            }
            let gathered = queue.since.map(|since| since + GATHERING);
            let ready = queue.hurry || queue.closing || queue.pending.len() >= ENOUGH;
            if queue.refused > 0 || gathered.is_some_and(|end| ready || end <= Instant::now()) {
                queue.since = None;
                queue.hurry = false;
                let group = std::mem::take(&mut queue.pending);
                return Work::Group(group, std::mem::take(&mut queue.refused));
            }
            if queue.closing {
                return Work::End;
            }
            let until = gathered.or(due);
            queue = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                Some(rest) if rest.is_zero() && gathered.is_none() => return Work::Idle,
                Some(rest) => {
                    self.changed
                        .wait_timeout(queue, rest)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
                None => self
                    .changed
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Gives back the room of a record that is written.
    pub(super) fn release(&self, timeless: &str) {
        self.room.add_permits(self.weight(timeless) as usize);
        self.unwritten.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many records were taken and are not on stable storage.
    pub(super) fn unwritten(&self) -> u64 {
        self.unwritten.load(Ordering::Relaxed)
    }

    /// Stops the log for good and tells everybody who waits. The first reason stays.
    pub(super) fn fail(&self, reason: &str) {
        tracing::error!(reason, "the audit log has stopped");
        self.finish(AuditFailed::Stopped(reason.into()));
    }

    fn finish(&self, why: AuditFailed) {
        let mut queue = self.lock();
        let failed = queue.failed.get_or_insert(why).clone();
        let pending = std::mem::take(&mut queue.pending);
        drop(queue);
        self.room.close();
        self.changed.notify_all();
        for record in pending {
            record.answer(Err(failed.clone()));
        }
    }

    /// Asks the writing thread to write what is queued and end.
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.changed.notify_all();
    }

    /// Told by the writing thread when it has let go of its files.
    pub(super) fn ended(&self) {
        let why = if self.lock().closing {
            AuditFailed::Closed
        } else {
            AuditFailed::Stopped("its thread ended early".into())
        };
        self.finish(why);
        self.ended.send_replace(true);
    }

    /// Waits for that.
    pub(super) async fn wait_for_end(&self) {
        // The sender lives as long as `self`.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    /// Why nothing is taken any more.
    pub(super) fn failed(&self) -> Option<AuditFailed> {
        self.lock().failed.clone()
    }
}
