//! Reading a file whole or not at all.
//!
//! A file that somebody rewrites in place can be seen half-written. The metadata before and after
//! tells most of those cases: size, times and the number of bytes read must agree. What cannot be
//! told is a writer that pauses half-way; whoever rotates secrets renames a finished file into place.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use zeroize::Zeroizing;

/// A file could not be read whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WholeFileError {
    /// Its metadata cannot be read.
    #[error("its metadata cannot be read")]
    Metadata(#[source] io::Error),
    /// A directory, pipe, socket or device.
    #[error("it is not a regular file")]
    NotAFile,
    /// More bytes than the limit.
    #[error("it is larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// Its content cannot be read.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    /// It was written to while it was being read.
    #[error("it is being rewritten; rename a finished file into its place instead")]
    Changing,
}

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Reads an open file of at most `limit` bytes. The buffer is made large enough at once, because a
/// buffer that grows leaves copies behind.
pub(super) fn read_whole(
    mut file: &File,
    limit: usize,
) -> Result<(Zeroizing<Vec<u8>>, Stamp), WholeFileError> {
    let before = file.metadata().map_err(WholeFileError::Metadata)?;
    if !before.is_file() {
        return Err(WholeFileError::NotAFile);
    }
    let size = usize::try_from(before.len())
        .ok()
        .filter(|size| *size <= limit)
        .ok_or(WholeFileError::TooLarge { limit })?;
    // One byte more tells a file that grew; the rest keeps `read_to_end` from growing the buffer.
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 64));
    file.by_ref()
        .take(before.len() + 1)
        .read_to_end(&mut bytes)
        .map_err(WholeFileError::Read)?;
    let after = file.metadata().map_err(WholeFileError::Metadata)?;
    let stamp = Stamp::of(&before);
    if bytes.len() != size || stamp.content() != Stamp::of(&after).content() {
        return Err(WholeFileError::Changing);
    }
    Ok((bytes, stamp))
}

impl Stamp {
    /// What changes with the content. Renaming another file over this one changes its own change
    /// time, since it loses a name, and says nothing against what was read.
    fn content(self) -> (u64, (i64, i64)) {
        (self.size, self.modified)
    }
}
