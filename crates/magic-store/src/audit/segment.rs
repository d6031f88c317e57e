//! The files of the log: names, and finding them.
//!
//! A log is a row of *segments*. A segment is called after the node and the number of its first entry, so that the row can be
//! read without opening anything, and a missing one shows. Nothing else in the folder counts: what a crash left is kept under
//! other names.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The longest name of a node.
const NODE_BYTES: usize = 64;

/// One file of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) node: String,
    /// The number of the first entry in it, or the next one if it is empty.
    pub(super) first: u64,
}

impl Segment {
    pub(super) fn new(directory: &Path, node: &str, first: u64) -> Self {
        Self {
            path: directory.join(format!("{node}.{first:020}.jsonl")),
            node: node.to_owned(),
            first,
        }
    }

    fn from_path(path: PathBuf) -> Option<Self> {
        let name = path.file_name()?.to_str()?.strip_suffix(".jsonl")?;
        let (node, first) = name.split_once('.')?;
        if !is_node(node) || first.len() != 20 || !first.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let first = first.parse().ok().filter(|first| *first > 0)?;
        Some(Self {
            node: node.to_owned(),
            first,
            path,
        })
    }

    /// The file's name, for messages.
    pub(super) fn name(&self) -> String {
        self.path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }
}

/// Whether a text can be a node's name: it stands in file names and in every hash.
pub(super) fn is_node(text: &str) -> bool {
    (1..=NODE_BYTES).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// The segments of a folder, of whichever nodes, oldest first. A folder that does not exist has none.
pub(super) fn segments(directory: &Path) -> io::Result<Vec<Segment>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut segments = Vec::new();
    for entry in entries {
        segments.extend(Segment::from_path(entry?.path()));
    }
    segments.sort_by(|one, other| (one.first, &one.node).cmp(&(other.first, &other.node)));
    Ok(segments)
}

/// Opens a file of the log to read it. Somebody else may have put something else there: a link, or a pipe that would never
/// answer.
pub(super) fn open_to_read(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is not a regular file"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only names that the log itself would give count.
    #[test]
    fn names_are_read_as_they_are_written() {
        let segment = Segment::new(Path::new("/a"), "n-1", 42);
        assert_eq!(segment.name(), "n-1.00000000000000000042.jsonl");
        assert_eq!(Segment::from_path(segment.path.clone()), Some(segment));
        for name in [
            "n.42.jsonl",
            "n.00000000000000000000.jsonl",
            "n.99999999999999999999.jsonl",
            ".00000000000000000042.jsonl",
            "n.+0000000000000000042.jsonl",
            "n.00000000000000000042.jsonl.torn",
            "a.b.00000000000000000042.jsonl",
        ] {
            assert_eq!(Segment::from_path(PathBuf::from(name)), None, "{name}");
        }
    }
}
