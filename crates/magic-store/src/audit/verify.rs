//! Verifying a log offline, with nothing but its files, its public key, and the head if there is one.
//!
//! The files are read once, in order, in constant memory. A log that is being written can be verified too: the head is read
//! first, so the log can only be further than it, and a last line that is not complete yet does not count.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::chain::{FirstBad, Place, Walk};
use super::entry::Hash;
use super::head::{AuditHeadError, Head};
use super::lines::{Lines, Next};
use super::segment::{Segment, open_to_read, segments};
use super::signing::AuditPublicKey;

/// What a log that verifies holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Whose log it is.
    pub node: String,
    /// How many records.
    pub records: u64,
    /// How many signatures, each over everything before it.
    pub checkpoints: u64,
    /// The number of the last entry; records and checkpoints are numbered together.
    pub last: u64,
    /// The hash of the last entry.
    pub hash: String,
    /// How many entries come after the last signature. Without a head, nothing but the chain speaks for them.
    pub unsigned: u64,
    /// The number of the entry that the head names, if a head was given: up to there nothing is missing.
    pub head: Option<u64>,
    /// The number of the entry that the runtime's state was shown last, if that was asked about and it was shown one.
    pub seen: Option<u64>,
    /// Bytes of a last line that has no end: being written right now, or left by a crash.
    pub unfinished_bytes: u64,
}

/// Where a node's log ended when somebody else was shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownHead {
    /// The node.
    pub node: String,
    /// The number of the last entry.
    pub sequence: u64,
    /// Its hash, as text.
    pub hash: String,
}

/// Why a log does not verify.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditVerifyError {
    /// Something in it is not as it was written.
    #[error(transparent)]
    Bad(#[from] FirstBad),
    /// The head is not to be believed.
    #[error(transparent)]
    Head(#[from] AuditHeadError),
    /// There is no head where one was expected.
    #[error("there is no head {}, so it cannot be told whether the log's end was cut off", .0.display())]
    HeadMissing(PathBuf),
    /// There is nothing to verify.
    #[error("there is no audit log in {}", .0.display())]
    Empty(PathBuf),
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file or folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl AuditVerifyError {
    /// Whether this speaks against the log, rather than being a fault of whoever asks.
    #[must_use]
    pub fn is_about_the_log(&self) -> bool {
        match self {
            Self::Bad(_) | Self::HeadMissing(_) => true,
            Self::Head(error) => !matches!(error, AuditHeadError::Read { .. }),
            Self::Empty(_) | Self::Read { .. } => false,
        }
    }
}

/// Verifies every line of a log. A head that is given must be there.
///
/// # Errors
/// [`AuditVerifyError::Bad`] names the first record that is not as it was written.
pub fn verify_audit(
    directory: &Path,
    head: Option<&Path>,
    key: &AuditPublicKey,
) -> Result<Verified, AuditVerifyError> {
    verify_audit_against(directory, head, key, &[])
}

/// The same, and holds the log against where it ended when somebody else was shown it: a log that was written anew together with
/// its head differs there.
///
/// # Errors
/// As [`verify_audit`].
pub fn verify_audit_against(
    directory: &Path,
    head: Option<&Path>,
    key: &AuditPublicKey,
    shown: &[ShownHead],
) -> Result<Verified, AuditVerifyError> {
    let head = match head {
        Some(path) => Some(
            Head::read(path, key)?.ok_or_else(|| AuditVerifyError::HeadMissing(path.to_owned()))?,
        ),
        None => None,
    };
    let segments = segments(directory).map_err(|source| AuditVerifyError::Read {
        path: directory.to_owned(),
        source,
    })?;
    let node = match (&head, segments.first()) {
        (Some(head), _) => head.node.clone(),
        (None, Some(segment)) => segment.node.clone(),
        (None, None) => return Err(AuditVerifyError::Empty(directory.to_owned())),
    };
    let seen = shown.iter().find(|shown| shown.node == node);
    let seen = seen.and_then(|shown| {
        Some(Head {
            node: shown.node.clone(),
            seq: shown.sequence,
            hash: Hash::parse(shown.hash.as_bytes())?,
        })
    });
    let mut walk = Walk::new(&node, key, head.as_ref()).past(seen.as_ref());
    let walked = walk_segments(&mut walk, &segments)?;
    walk.end(&walked.end)?;
    Ok(Verified {
        records: walk.records,
        checkpoints: walk.checkpoints,
        last: walk.seq,
        hash: walk.hash.to_string(),
        unsigned: walk.unsigned,
        head: head.as_ref().map(|head| head.seq),
        seen: seen.as_ref().map(|seen| seen.seq),
        node: node.clone(),
        unfinished_bytes: walked.unfinished_bytes,
    })
}

/// What was found at the end of a segment.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// The place after the last line.
    pub(super) end: Place,
    /// Where the last whole line ends.
    pub(super) length: u64,
    /// How many bytes come after it.
    pub(super) unfinished_bytes: u64,
}

/// Walks along files that follow each other, and tells what was found at the end of the last.
pub(super) fn walk_segments(
    walk: &mut Walk<'_>,
    segments: &[Segment],
) -> Result<Walked, AuditVerifyError> {
    let mut last = Walked::default();
    for segment in segments {
        if last.unfinished_bytes > 0 {
            return Err(last
                .end
                .bad(
                    walk.seq + 1,
                    "its line has no end, but another file follows",
                )
                .into());
        }
        last = walk_segment(walk, segment)?;
    }
    Ok(last)
}

/// Walks along one file.
fn walk_segment(walk: &mut Walk<'_>, segment: &Segment) -> Result<Walked, AuditVerifyError> {
    let mut place = Place {
        segment: segment.name(),
        line: 0,
    };
    walk.enter(&segment.node, segment.first, &place)?;
    let read_error = |source| AuditVerifyError::Read {
        path: segment.path.clone(),
        source,
    };
    let mut lines = Lines::new(open_to_read(&segment.path).map_err(read_error)?);
    let unfinished_bytes = loop {
        place.line += 1;
        match lines.next().map_err(read_error)? {
            Next::Line(line) => walk.step(line, &place)?,
            Next::TooLong => {
                return Err(place
                    .bad(walk.seq + 1, "the line is longer than the log writes any")
                    .into());
            }
            Next::Unterminated(bytes) => break bytes,
            Next::End => break 0,
        }
    };
    Ok(Walked {
        end: place,
        length: lines.offset,
        unfinished_bytes,
    })
}
