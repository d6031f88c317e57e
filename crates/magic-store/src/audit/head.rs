//! The head: where the log ended, written down in another place.
//!
//! A chain cannot show that its end was cut off: what is left is a shorter chain, just as good. So after every group of records
//! has become durable, number and hash of the last one are signed and put into a small file in another folder, which an
//! operator can place on another disk or copy to another machine. The head is written after the records, so it is never
//! ahead of them; a log that ends before its head has lost something.
//!
//! It has a thread of its own. Nobody waits for the head to be written, because a record is safe without it; what would be
//! lost is the proof that the last few milliseconds before a crash were not cut off afterwards. Under load the heads of
//! several groups become one: a head costs as much as a group, so there is a pause after each.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::entry::Hash;
use super::medium::Medium;
use super::queue::Shared;
use super::signing::{AuditPublicKey, AuditSigner, head_message};

/// From the beginning of one head to that of the next, at least.
const PAUSE: Duration = Duration::from_millis(20);

/// A head is one short line; what is larger is something else.
const LARGEST_HEAD_FILE: u64 = 4 * 1024;

/// Where a log ended: the number and hash of its last entry. Number 0 is the empty log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) node: String,
    pub(super) seq: u64,
    pub(super) hash: Hash,
}

/// Why a head is not to be believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditHeadError {
    /// It cannot be read.
    #[error("cannot read the head {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// It is something else.
    #[error("{} is not the head of an audit log", .0.display())]
    Format(PathBuf),
    /// It was not signed by the log's key.
    #[error(
        "the head {} was not signed by this key: it was changed, or belongs to another log or another key",
        .0.display()
    )]
    Signature(PathBuf),
}

/// The file's content.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    node: String,
    seq: u64,
    hash: String,
    time: String,
    key: String,
    signature: String,
}

impl Head {
    /// The bytes of the file.
    pub(super) fn signed(&self, signer: &AuditSigner, time: Timestamp) -> Vec<u8> {
        let time = format!("{time:.6}");
        let stored = Stored {
            node: self.node.clone(),
            seq: self.seq,
            hash: self.hash.to_string(),
            key: signer.public().to_string(),
            signature: signer.sign(&head_message(&self.node, self.seq, &self.hash, &time)),
            time,
        };
        let mut bytes = serde_json::to_vec(&stored).expect("texts and a number are JSON");
        bytes.push(b'\n');
        bytes
    }

    /// Reads a head and checks its signature. `None` if there is no such file.
    pub(super) fn read(path: &Path, key: &AuditPublicKey) -> Result<Option<Self>, AuditHeadError> {
        use std::io::Read as _;
        let read = || {
            let mut bytes = Vec::new();
            super::segment::open_to_read(path)?
                .take(LARGEST_HEAD_FILE)
                .read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = match read() {
            Ok(bytes) => bytes,
            Err(error) if std::io::Error::kind(&error) == std::io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(source) => {
                return Err(AuditHeadError::Read {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let format = || AuditHeadError::Format(path.to_owned());
        let stored: Stored = serde_json::from_slice(&bytes).map_err(|_| format())?;
        let hash = Hash::parse(stored.hash.as_bytes()).ok_or_else(format)?;
        let message = head_message(&stored.node, stored.seq, &hash, &stored.time);
        if !key.verifies(&message, &stored.signature) {
            return Err(AuditHeadError::Signature(path.to_owned()));
        }
        Ok(Some(Self {
            node: stored.node,
            seq: stored.seq,
            hash,
        }))
    }
}

/// Writes heads, always the newest one.
#[derive(Debug)]
pub(super) struct HeadWriter {
    slot: Arc<Slot>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Slot {
    state: Mutex<SlotState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct SlotState {
    newest: Option<Head>,
    ending: bool,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HeadWriter {
    /// Starts the thread. A head that cannot be written ends the log as a record that cannot be written does.
    pub(super) fn start(
        path: PathBuf,
        signer: Arc<AuditSigner>,
        medium: Arc<dyn Medium>,
        shared: Arc<Shared>,
    ) -> std::io::Result<Self> {
        let slot = Arc::new(Slot::default());
        let taken = Arc::clone(&slot);
        let thread = std::thread::Builder::new()
            .name("audit-head".to_owned())
            .spawn(move || {
                let mut not_before = Instant::now();
                while let Some(head) = taken.take(not_before) {
                    not_before = Instant::now() + PAUSE;
                    let bytes = head.signed(&signer, Timestamp::now());
                    if let Err(error) = medium.replace(&path, &bytes) {
                        shared.fail(&format!(
                            "cannot write the head {}: {error}",
                            path.display()
                        ));
                        return;
                    }
                }
            })?;
        Ok(Self {
            slot,
            thread: Some(thread),
        })
    }

    /// Hands over a newer head.
    pub(super) fn write(&self, head: Head) {
        self.slot.lock().newest = Some(head);
        self.slot.changed.notify_one();
    }
}

impl Slot {
    /// The newest head, not before the given time unless it is the last, or `None` at the end, when all are written.
    fn take(&self, not_before: Instant) -> Option<Head> {
        let mut state = self.lock();
        loop {
            let rest = not_before.saturating_duration_since(Instant::now());
            if (rest.is_zero() || state.ending)
                && let Some(head) = state.newest.take()
            {
                return Some(head);
            }
            if state.ending {
                return None;
            }
            if state.newest.is_some() {
                state = self
                    .changed
                    .wait_timeout(state, rest)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
                continue;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for HeadWriter {
    /// Waits until the last head is written.
    fn drop(&mut self) {
        self.slot.lock().ending = true;
        self.slot.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the panic hook, and there is nothing left to do about it.
            let _ = thread.join();
        }
    }
}
