//! The thread that writes: everything that waits becomes one write and one sync.
//!
//! While a sync runs, further records gather; the next round takes all of them. So the cost of a sync is shared by as many
//! records as come in its time, and the log is as fast as it must be without any setting. Nothing is acknowledged before the
//! sync has returned, and nothing after it has failed once.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::chain::checkpoint_body;
use super::entry::{BodyKind, Hash, write_entry};
use super::head::{Head, HeadWriter};
use super::medium::{AppendFile, Medium};
use super::queue::{Pending, Shared, Work};
use super::record::{Kind, Record, timed};
use super::segment::Segment;
use super::signing::{AuditSigner, checkpoint_message};

/// When a segment is full, and when a checkpoint is due.
#[derive(Debug, Clone, Copy)]
pub(super) struct WriterLimits {
    /// A segment that would grow past this is ended first. In bytes.
    pub(super) segment_bytes: u64,
    /// Entries between two checkpoints.
    pub(super) checkpoint_records: u64,
    /// The oldest that an entry without a checkpoint after it gets.
    pub(super) checkpoint_interval: Duration,
}

/// Where the log stands: the end of the chain, and the file that it ends in.
#[derive(Debug)]
pub(super) struct Position {
    pub(super) seq: u64,
    pub(super) hash: Hash,
    /// Entries since the last checkpoint.
    pub(super) unsigned: u64,
    pub(super) segment: Segment,
    /// Bytes in that file.
    pub(super) length: u64,
}

/// Everything that the thread owns.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) medium: Arc<dyn Medium>,
    pub(super) signer: Arc<AuditSigner>,
    pub(super) limits: WriterLimits,
    pub(super) directory: PathBuf,
    pub(super) position: Position,
    pub(super) file: Box<dyn AppendFile>,
    /// Records that are not chained yet.
    pub(super) group: VecDeque<Pending>,
    /// Lines that are chained but not written yet.
    pub(super) buffer: Vec<u8>,
    /// The records in `buffer` and their numbers.
    pub(super) written: Vec<(Pending, u64)>,
    /// When the oldest entry without a checkpoint was written.
    pub(super) unsigned_since: Option<Instant>,
    pub(super) heads: HeadWriter,
    /// The folder, locked against other processes as long as this lives.
    pub(super) _lock: File,
}

/// A write that failed, and of what.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} {}: {source}", path.display())]
pub(super) struct WriteError {
    step: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl Writer {
    /// Writes what comes until the end.
    pub(super) fn run(self) {
        // Declared first and so dropped last, after the files are closed and the last head is written; on a panic as well.
        let _ended = Ended(Arc::clone(&self.shared));
        let mut writer = self;
        writer.serve();
    }

    fn serve(&mut self) {
        loop {
            let due = self
                .unsigned_since
                .map(|since| since + self.limits.checkpoint_interval);
            let result = match self.shared.next(due) {
                Work::Group(group, refused) => self.commit(group, refused, false),
                Work::Idle => self.commit(VecDeque::new(), 0, true),
                Work::End => {
                    // After a failure nothing more is written.
                    if self.shared.failed().is_none()
                        && self.position.unsigned > 0
                        && let Err(error) = self.commit(VecDeque::new(), 0, true)
                    {
                        self.fail(&error);
                    }
                    return;
                }
            };
            if let Err(error) = result {
                self.fail(&error);
                return;
            }
        }
    }

    /// Stops for good. What was written but not made durable was never acknowledged, and now never will be.
    fn fail(&mut self, error: &WriteError) {
        self.shared.fail(&error.to_string());
        let Some(why) = self.shared.failed() else {
            return;
        };
        let written = self.written.drain(..).map(|(record, _)| record);
        for record in written.chain(self.group.drain(..)) {
            record.answer(Err(why.clone()));
        }
    }

    /// Makes a group of records durable and tells those who wait.
    pub(super) fn commit(
        &mut self,
        group: VecDeque<Pending>,
        refused: u64,
        sign: bool,
    ) -> Result<(), WriteError> {
        self.group = group;
        if refused > 0 {
            self.group.push_back(Pending {
                time: Timestamp::now(),
                timeless: Record::new(Kind::Gap)
                    .with_field("refused", refused)
                    .timeless(),
                answer: None,
            });
        }
        while let Some(next) = self.group.front() {
            let body = timed(&next.timeless, next.time);
            self.make_room(body.len())?;
            let Some(record) = self.group.pop_front() else {
                break;
            };
            let seq = self.chain(BodyKind::Record, body.as_bytes());
            self.position.unsigned += 1;
            self.written.push((record, seq));
            if self.position.unsigned >= self.limits.checkpoint_records {
                self.sign();
            }
        }
        if sign {
            self.sign();
        }
        self.flush()?;
        self.shared
            .reached(self.position.seq, self.position.hash.to_string());
        self.heads.write(Head {
            node: self.position.segment.node.clone(),
            seq: self.position.seq,
            hash: self.position.hash,
        });
        Ok(())
    }

    /// Ends the segment if an entry of that size would make it too large.
    fn make_room(&mut self, body: usize) -> Result<(), WriteError> {
        /// What an entry has around its body, at most.
        const AROUND: u64 = 256;
        let length = self.position.length + self.buffer.len() as u64;
        if length == 0 || length + body as u64 + AROUND <= self.limits.segment_bytes {
            return Ok(());
        }
        // A segment ends with a signature, so that whoever begins to read at the next one has something to begin with. It is whole
        // and durable before the next one exists.
        if self.position.unsigned > 0 {
            self.sign();
        }
        self.flush()?;
        let next = Segment::new(
            &self.directory,
            &self.position.segment.node,
            self.position.seq + 1,
        );
        self.file = self
            .medium
            .create(&next.path)
            .map_err(|source| failed("make", &next.path, source))?;
        self.medium
            .sync_directory(&self.directory)
            .map_err(|source| failed("sync", &self.directory, source))?;
        self.position.segment = next;
        self.position.length = 0;
        Ok(())
    }

    /// Adds an entry to the chain and to the buffer, and returns its number.
    fn chain(&mut self, kind: BodyKind, body: &[u8]) -> u64 {
        let position = &mut self.position;
        position.seq += 1;
        position.hash = write_entry(
            &mut self.buffer,
            &position.segment.node,
            position.seq,
            &position.hash,
            kind,
            body,
        );
        position.seq
    }

    /// Adds a checkpoint.
    fn sign(&mut self) {
        let time = format!("{:.6}", Timestamp::now());
        let position = &self.position;
        let message = checkpoint_message(
            &position.segment.node,
            position.seq + 1,
            &position.hash,
            &time,
        );
        let body = checkpoint_body(&time, self.signer.public(), &self.signer.sign(&message));
        self.chain(BodyKind::Checkpoint, body.as_bytes());
        self.position.unsigned = 0;
    }

    /// Writes the buffer, makes it durable, tells those who wait.
    fn flush(&mut self) -> Result<(), WriteError> {
        /// A buffer that grew for one large group is not kept for ever.
        const USUAL_BUFFER: usize = 1024 * 1024;
        if !self.buffer.is_empty() {
            let path = &self.position.segment.path;
            self.file
                .append(&self.buffer)
                .map_err(|source| failed("write", path, source))?;
            self.file
                .sync()
                .map_err(|source| failed("sync", path, source))?;
            self.position.length += self.buffer.len() as u64;
            self.buffer.clear();
            self.buffer.shrink_to(USUAL_BUFFER);
        }
        for (record, seq) in self.written.drain(..) {
            if record.answer.is_some() {
                self.shared.release(&record.timeless);
            }
            record.answer(Ok(seq));
        }
        self.unsigned_since = match (self.position.unsigned, self.unsigned_since) {
            (0, _) => None,
            (_, since) => since.or_else(|| Some(Instant::now())),
        };
        Ok(())
    }
}

fn failed(step: &'static str, path: &std::path::Path, source: io::Error) -> WriteError {
    WriteError {
        step,
        path: path.to_owned(),
        source,
    }
}

/// Says at the very end that the thread is gone.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.ended();
    }
}
