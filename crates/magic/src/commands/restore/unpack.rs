//! Reading a backup, whoever wrote it.
//!
//! Only regular files and folders are made, below one new folder, by names that begin as ours and go nowhere else, and each of them
//! once; the content counts only if the archive's end states exactly these files with these checksums. What is read into memory
//! is bounded: manifest and checksums by their size (the latter by what came before), and the head of a member, which may hold a name of any length, by a meter.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path};
use std::rc::Rc;

use anyhow::{Context, bail};

use super::archive::{CHECKSUMS, Checksums, Digest, FORMAT, MANIFEST, Manifest, TOPS};
use crate::terminal::escaped;

/// Members that are read into memory are small.
const SMALL: u64 = 16 << 20;

/// What stands before a member's content: its header, and a long name in blocks of its own.
const HEAD: u64 = 64 << 10;

/// Unpacks into a folder that does not exist yet, and sees that everything is as it was written; says how many files it were.
///
/// # Errors
/// When it is not. What was unpacked until then is still there.
pub(super) fn unpack(archive: impl Read, root: &Path) -> anyhow::Result<(Manifest, usize)> {
    unpack_tar(zstd::Decoder::new(archive)?, root)
}

/// The same for what is compressed in it.
pub(super) fn unpack_tar(tar: impl Read, root: &Path) -> anyhow::Result<(Manifest, usize)> {
    let left = Rc::new(Cell::new(HEAD));
    let mut tar = tar::Archive::new(Metered {
        from: tar,
        left: Rc::clone(&left),
    });
    DirBuilder::new().mode(0o700).create(root)?;
    let mut manifest: Option<Manifest> = None;
    let mut stated: Option<Checksums> = None;
    let mut found = Checksums::new();
    let mut folders = Vec::new();
    let mut entries = tar.entries()?;
    loop {
        left.set(HEAD);
        let Some(entry) = entries.next() else { break };
        let entry = entry?;
        left.set(u64::MAX);
        anyhow::ensure!(stated.is_none(), "something comes after its end");
        let path = entry.path()?.into_owned();
        let name = path.to_str().context("a name is not text")?.to_owned();
        let kind = entry.header().entry_type();
        let mode = entry.header().mode()? & 0o755;
        match name.as_str() {
            MANIFEST if manifest.is_none() => {
                let read: Manifest = serde_json::from_reader(entry.take(SMALL))?;
                anyhow::ensure!(
                    read.magic_backup == FORMAT,
                    "it was written by a later program; use that one"
                );
                manifest = Some(read);
                continue;
            }
            CHECKSUMS => {
                // A line for each file, whose name is in memory already; each letter may be escaped.
                let lines = found.keys().map(|name| 6 * name.len() as u64 + 80);
                let length = SMALL + lines.sum::<u64>();
                stated = Some(serde_json::from_reader(entry.take(length))?);
                continue;
            }
            _ => anyhow::ensure!(manifest.is_some(), "it does not say what it is"),
        }
        let place = root.join(judged(&path)?);
        if kind.is_dir() {
            DirBuilder::new().mode(0o700).create(&place)?;
            folders.push((place, mode));
        } else if kind.is_file() {
            let mut digest = Digest::new(entry);
            let mut to = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&place)
                .or_else(|error| in_new_folder(error, &place))?;
            io::copy(&mut digest, &mut to)?;
            to.set_permissions(Permissions::from_mode(mode))?;
            found.insert(name, digest.text());
        } else {
            bail!("{} is neither a file nor a folder", escaped(&name));
        }
    }
    let manifest = manifest.context("it is empty")?;
    let stated = stated.context("it was cut off")?;
    if let Some(wrong) = differing(&stated, &found) {
        bail!("{} is not as it was written", escaped(&wrong));
    }
    anyhow::ensure!(
        manifest.has_state == found.contains_key("state.db"),
        "the state is missing"
    );
    // Last, and from the inside out: a folder may be read-only.
    for (folder, mode) in folders.into_iter().rev() {
        std::fs::set_permissions(folder, Permissions::from_mode(mode))?;
    }
    Ok((manifest, found.len()))
}

/// Lets so many bytes through. The reader of archives holds heads in memory, however long a name they claim.
struct Metered<R> {
    from: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.left.get()).unwrap_or(usize::MAX);
        if left == 0 && !buffer.is_empty() {
            return Err(io::Error::other("the head of a member is too long"));
        }
        let most = left.min(buffer.len());
        let count = self.from.read(&mut buffer[..most])?;
        self.left.set(self.left.get() - count as u64);
        Ok(count)
    }
}

/// Heads lie in a folder that is not a member by itself.
fn in_new_folder(error: io::Error, place: &Path) -> io::Result<File> {
    let Some(folder) = place
        .parent()
        .filter(|_| error.kind() == io::ErrorKind::NotFound)
    else {
        return Err(error);
    };
    DirBuilder::new().mode(0o700).create(folder)?;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(place)
}

/// A name that stays below the folder and begins as one of ours.
fn judged(path: &Path) -> anyhow::Result<&Path> {
    let mut parts = path.components();
    let first = parts.next();
    let ours = TOPS
        .iter()
        .any(|top| first == Some(Component::Normal(top.as_ref())));
    let plain = parts.all(|part| matches!(part, Component::Normal(_)));
    anyhow::ensure!(
        ours && plain,
        "{} is no name of a backup",
        escaped(&path.to_string_lossy())
    );
    Ok(path)
}

/// The first file that is missing, was added, or has other content.
fn differing(stated: &Checksums, found: &Checksums) -> Option<String> {
    let names: BTreeSet<_> = stated.keys().chain(found.keys()).collect();
    names
        .into_iter()
        .find(|name| stated.get(*name) != found.get(*name))
        .cloned()
}

#[cfg(test)]
mod tests;
