//! The form of a backup: a compressed tar whose first member says what it is and whose last one holds the SHA-256 of every file.
//!
//! The checksums come last because files are read once, while they are written; so an archive that was cut off has none and is
//! refused as a whole.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

/// The first member.
pub(super) const MANIFEST: &str = "backup.json";
/// The last member.
pub(super) const CHECKSUMS: &str = "checksums.json";
pub(super) const PUBLIC_KEY: &str = "audit-key.pub.pem";
pub(super) const PRIVATE_KEY: &str = "audit-key.pem";

/// What else an archive may have at its top.
pub(super) const TOPS: [&str; 7] = [
    "state.db",
    "audit",
    "audit-head",
    PUBLIC_KEY,
    PRIVATE_KEY,
    "bundles",
    "packages",
];

/// How much is compressed: the usual compromise.
pub(super) const LEVEL: i32 = 3;

/// The only form that there is so far.
pub(super) const FORMAT: u32 = 1;

/// Names of files, and the SHA-256 of their content in hexadecimal.
pub(super) type Checksums = BTreeMap<String, String>;

/// What an archive says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) magic_backup: u32,
    pub(super) program: String,
    pub(super) node: String,
    pub(super) made_at: jiff::Timestamp,
    /// Whether the state is in it; else it is in PostgreSQL.
    pub(super) has_state: bool,
    /// Whether the private key of the audit log is.
    pub(super) has_audit_key: bool,
}

impl Manifest {
    pub(super) fn of(node: &str, has_state: bool, has_audit_key: bool) -> Self {
        Self {
            magic_backup: FORMAT,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            node: node.to_owned(),
            made_at: jiff::Timestamp::now(),
            has_state,
            has_audit_key,
        }
    }
}

/// Reads, and hashes what was read.
pub(super) struct Digest<R> {
    from: R,
    hash: sha2::Sha256,
    length: u64,
}

impl<R: Read> Digest<R> {
    pub(super) fn new(from: R) -> Self {
        Self {
            from,
            hash: sha2::Sha256::new(),
            length: 0,
        }
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The hash of what was read so far, in hexadecimal.
    pub(super) fn text(&self) -> String {
        use std::fmt::Write as _;
        let mut text = String::with_capacity(64);
        for byte in self.hash.clone().finalize() {
            // Writing to a text does not fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

impl<R: Read> Read for Digest<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.hash.update(&buffer[..count]);
        self.length += count as u64;
        Ok(count)
    }
}

/// What is in a folder, in the order of names; nothing if there is no such folder.
pub(super) fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let reading = || format!("cannot read {}", folder.display());
    let found = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        found => found.with_context(reading)?,
    };
    let mut paths = Vec::new();
    for entry in found {
        paths.push(entry.with_context(reading)?.path());
    }
    paths.sort();
    Ok(paths)
}

/// The last part of a path, as text.
pub(super) fn name(path: &Path) -> anyhow::Result<&str> {
    path.file_name()
        .and_then(|name| name.to_str())
        .with_context(|| format!("{} has a name that is not text", path.display()))
}
