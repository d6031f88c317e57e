//! The audit log: what was done and refused, durable before anybody relies on it, and verifiable afterwards.
//!
//! A log is a row of files that only grow ([`segment`]). Each line is chained to the one before by its hash ([`entry`]); now and
//! then, and at the end of each file, a line is a signature over everything before ([`signing`]); and where the log ends is
//! written down in another place ([`head`]). So an edit, a deletion, an insertion, a reordering, a swapped or missing file shows
//! in the chain, a chain that was computed anew shows at the next signature, and an end that was cut off shows by the head.
//! One walk judges all of that ([`chain`]), for [`verify_audit`] and for opening ([`opening`]) alike.
//!
//! Records go through a bounded queue ([`queue`]) to a thread that writes and syncs them in groups ([`writer`]). A record is
//! acknowledged when it is on stable storage and not before. If writing or syncing fails once, nothing is acknowledged any
//! more, ever: the kernel may have dropped the pages that it could not write and would report success the next time
//! (<https://wiki.postgresql.org/wiki/Fsync_Errors>). The way back is to start the process again, which reads what the disk
//! really has.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

mod chain;
mod entry;
mod export;
mod head;
mod lines;
mod medium;
mod opening;
mod query;
mod queue;
mod record;
mod segment;
mod signing;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

pub use chain::FirstBad;
pub use export::{AUDIT_CSV_HEADER, audit_csv_row};
pub use head::AuditHeadError;
pub use medium::create_directory;
pub use opening::AuditOpenError;
pub use query::{AuditFilter, AuditOrder, AuditReadError, AuditReader, StoredRecord};
pub use queue::{AuditFailed, Ticket};
pub use record::{Decision, Kind, Record, Rule, UnknownDecision, UnknownKind};
pub use signing::{AuditKeyError, AuditPublicKey};
pub use verify::{AuditVerifyError, ShownHead, Verified, verify_audit, verify_audit_against};

use opening::Opened;
use queue::Shared;

/// Where the parts of a log lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPlaces {
    /// The folder of the log's files, for one node alone.
    pub directory: PathBuf,
    /// The file that says where the log ends. In another folder on purpose: it is worth most on another disk.
    pub head_file: PathBuf,
    /// The private key; its owner alone can read it.
    pub key_file: PathBuf,
    /// The public key, for whoever verifies.
    pub public_key_file: PathBuf,
}

impl AuditPlaces {
    /// The usual places below the data folder, for the log of a node.
    #[must_use]
    pub fn below(data: &Path, node: &str) -> Self {
        Self {
            directory: data.join("audit"),
            head_file: data.join("audit-head").join(format!("{node}.json")),
            key_file: data.join("audit-key.pem"),
            public_key_file: data.join("audit-key.pub.pem"),
        }
    }

    /// The usual places of the log that is below the data folder, for whoever does not know the node's name: it is in the names
    /// of the log's files, and of its head if the log itself is gone. `None` if there was never one.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn found_below(data: &Path) -> io::Result<Option<Self>> {
        let usual = Self::below(data, "");
        if let Some(segment) = segment::segments(&usual.directory)?.first() {
            return Ok(Some(Self::below(data, &segment.node)));
        }
        let heads = match std::fs::read_dir(data.join("audit-head")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            heads => heads?,
        };
        for head in heads {
            let name = head?.file_name();
            let node = name.to_str().and_then(|name| name.strip_suffix(".json"));
            if let Some(node) = node.filter(|node| segment::is_node(node)) {
                return Ok(Some(Self::below(data, node)));
            }
        }
        Ok(None)
    }
}

/// How a log is kept.
#[derive(Debug, Clone)]
pub struct AuditOptions {
    /// Where its parts lie.
    pub places: AuditPlaces,
    /// Who writes it: a name that stays the same for the life of the log. Part of every hash.
    pub node: String,
    /// The size at which a file is ended and the next begun. In bytes.
    pub segment_bytes: u64,
    /// Entries between two signatures, at most; values above 4,096 count as that.
    pub checkpoint_records: u64,
    /// How long an entry waits for a signature, at most.
    pub checkpoint_interval: Duration,
    /// What records that are not written yet may take together. In bytes.
    pub queue_bytes: usize,
}

impl AuditOptions {
    /// The usual options, below the data folder.
    #[must_use]
    pub fn below(data: &Path, node: &str) -> Self {
        Self {
            places: AuditPlaces::below(data, node),
            node: node.to_owned(),
            segment_bytes: 64 * 1024 * 1024,
            checkpoint_records: 1000,
            checkpoint_interval: Duration::from_secs(5),
            queue_bytes: 16 * 1024 * 1024,
        }
    }
}

/// What a crash had left at the end of a log, and was cut off: the beginning of a line that nobody was promised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// How many bytes.
    pub bytes: u64,
    /// Where they are kept.
    pub kept: PathBuf,
}

/// A log that is open for writing. A clone is a handle on the same log; when the last one is dropped, the log writes what it
/// has taken and ends.
#[derive(Debug, Clone)]
pub struct AuditLog {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    opened: Opened,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.opened.shared.close();
    }
}

impl AuditLog {
    /// Opens a log, or begins one. Blocks on the disk; returns when a first signature is durable, so that a log that is
    /// returned can be written. No other process can open it meanwhile.
    ///
    /// # Errors
    /// When it cannot be written, is in use, or is not as it was written; the message says what to type.
    pub fn open(options: &AuditOptions) -> Result<Self, AuditOpenError> {
        Self::open_on(options, Arc::new(medium::FileSystem))
    }

    fn open_on(
        options: &AuditOptions,
        medium: Arc<dyn medium::Medium>,
    ) -> Result<Self, AuditOpenError> {
        let opened = opening::open(options, medium)?;
        Ok(Self {
            handle: Arc::new(Handle { opened }),
        })
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.opened.shared
    }

    /// Hands over a record, gives it its time and its place, and returns at once. If the queue is full or the log has stopped,
    /// the record is refused and the ticket says so; whoever relies on the record must then not do what it is about, or not
    /// answer.
    pub fn append(&self, record: &Record) -> Ticket {
        self.shared().push(record.timeless())
    }

    /// The same, but waits for room instead of being refused. If this is dropped before it has ended, the record was not taken.
    pub async fn append_waiting(&self, record: &Record) -> Ticket {
        self.shared().push_waiting(record.timeless()).await
    }

    /// Why the log takes nothing any more.
    ///
    /// # Errors
    /// When writing has failed once, or the log was closed.
    pub fn health(&self) -> Result<(), AuditFailed> {
        self.shared().failed().map_or(Ok(()), Err)
    }

    /// Whether the log takes records.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.health().is_ok()
    }

    /// Number and hash of the last entry that is on stable storage: where the log ends, to be kept where whoever holds this disk
    /// cannot change it. `None` before the first entry after opening.
    #[must_use]
    pub fn durable_end(&self) -> Option<(u64, String)> {
        self.shared().end()
    }

    /// How many records were taken and are not on stable storage yet.
    #[must_use]
    pub fn unwritten(&self) -> u64 {
        self.shared().unwritten()
    }

    /// What opening had to cut off.
    #[must_use]
    pub fn recovered(&self) -> Option<&Recovered> {
        self.handle.opened.recovered.as_ref()
    }

    /// The key that verifies this log.
    #[must_use]
    pub fn public_key(&self) -> &AuditPublicKey {
        &self.handle.opened.public_key
    }

    /// Takes no more records, writes those that were taken, signs, and lets go of the files.
    ///
    /// # Errors
    /// When writing had failed, or fails now.
    pub async fn close(&self) -> Result<(), AuditFailed> {
        self.shared().close();
        self.shared().wait_for_end().await;
        match self.health() {
            Err(AuditFailed::Closed) | Ok(()) => Ok(()),
            Err(failed) => Err(failed),
        }
    }
}
