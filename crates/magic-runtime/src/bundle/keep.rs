//! Keeps files on disk under the name of their content.
//!
//! A folder appears under its name only as a whole: it is written beside its
//! place, every file and folder of it made durable, then renamed, and the
//! rename made durable. After a crash at any moment there is either nothing or
//! all of it, and never a name that stands for half. What was found under a
//! name is believed only after its content has been read again: whoever can
//! write there could otherwise exchange what serves.

use super::{digest, read};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Why a kept folder is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeepError {
    #[error("`{}` cannot be written: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error(
        "the files in `{}` are not those that were deployed; somebody has changed them: find out who, remove that folder and deploy again",
        .0.display()
    )]
    Changed(PathBuf),
}

/// How often somebody may take a folder away from under whoever wants it.
pub(crate) const ATTEMPTS: u32 = 10;

/// Keeps what `write` writes below `root`, in a folder of that name, and
/// returns a lease of the folder. `is_sound` judges what is there already.
pub(crate) fn keep(
    root: &Path,
    name: &str,
    is_sound: impl Fn(&Path) -> bool,
    write: impl Fn(&Path) -> io::Result<()>,
) -> Result<Lease, KeepError> {
    let finished = root.join(name);
    let failed = |source| KeepError::Write {
        path: root.to_owned(),
        source,
    };
    for _ in 0..ATTEMPTS {
        if let Some(lease) = Lease::take(&finished).map_err(failed)? {
            return match is_sound(&finished) {
                true => Ok(lease),
                false => Err(KeepError::Changed(finished)),
            };
        }
        // A link or a file is nothing that was written here.
        if is_there(&finished) {
            return Err(KeepError::Changed(finished));
        }
        let staging = Staging::begin(root, name).map_err(failed)?;
        let written = write(staging.path()).and_then(|()| staging.finish(root, &finished));
        match written {
            Ok(()) => {
                if let Some(lease) = Lease::take(&finished).map_err(failed)? {
                    return Ok(lease);
                }
            }
            // Somebody else was faster.
            Err(_) if is_there(&finished) => sync(root).map_err(failed)?,
            Err(error) => return Err(failed(error)),
        }
    }
    Err(failed(io::Error::other(
        "it is removed as often as it is written",
    )))
}

/// A kept folder that is not removed as long as this lives, in whatever process
/// that is: a lock that ends with it.
#[derive(Debug)]
pub struct Lease {
    path: PathBuf,
    _lock: File,
}

impl Lease {
    /// Takes a lease; none if there is no such folder.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn take(folder: &Path) -> io::Result<Option<Self>> {
        if !folder.symlink_metadata().is_ok_and(|found| found.is_dir()) {
            return Ok(None);
        }
        let lock = match File::open(folder) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // Waits for nobody for long: whoever removes a folder looks at it and gives it another name.
        rustix::fs::flock(&lock, FlockOperation::LockShared)?;
        Ok(is_that(&lock, folder)?.then(|| Self {
            path: folder.to_owned(),
            _lock: lock,
        }))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Removes the folders below `root` that nobody has a lease of and that may go,
/// by their paths and names, and gives the names of those that went. After a
/// crash in between, what is left has a name that [`sweep`] removes.
pub(crate) fn remove_unused(
    root: &Path,
    may_go: impl Fn(&Path, &str) -> bool,
) -> io::Result<Vec<String>> {
    let mut removed = Vec::new();
    for entry in std::fs::read_dir(root)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if name.starts_with('.') || !entry.file_type()?.is_dir() {
            continue;
        }
        let path = entry.path();
        let Some(lock) = lock(&path)? else { continue };
        if !is_that(&lock, &path)? || !may_go(&path, &name) {
            continue;
        }
        let aside = unfinished(root, &name);
        std::fs::rename(&path, &aside)?;
        // Only then is it certain that nobody finds the half of it by its name.
        sync(root)?;
        drop(lock);
        match std::fs::remove_dir_all(&aside) {
            // Another process that starts sweeps such names as well.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => removed.push(name),
        }
    }
    Ok(removed)
}

/// Whether an open folder still has that name.
fn is_that(open: &File, path: &Path) -> io::Result<bool> {
    let (found, open) = match path.symlink_metadata() {
        Ok(found) => (found, open.metadata()?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    Ok((found.dev(), found.ino()) == (open.dev(), open.ino()))
}

/// A folder that is being written; gone with all in it unless it is finished.
/// Its lock ends with the process that holds it, however that ends.
pub(crate) struct Staging {
    path: PathBuf,
    finished: bool,
    _lock: File,
}

impl Staging {
    /// Makes a folder to write into that nobody else writes into: not another
    /// deploy of the same content at the same moment, whose failure would take
    /// files out of ours, and not one of a process with our number that ended
    /// in the middle, as a container's process 1 always is.
    pub(crate) fn begin(root: &Path, name: &str) -> io::Result<Self> {
        loop {
            let path = unfinished(root, name);
            match std::fs::create_dir(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            }
            // Somebody who sweeps may take it before it is locked.
            let Some(lock) = lock(&path)? else { continue };
            let staging = Self {
                path,
                finished: false,
                _lock: lock,
            };
            // Whatever the umask, for identities of their own.
            crate::folder::create(staging.path())?;
            return Ok(staging);
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes all of it durable under its final name.
    pub(crate) fn finish(mut self, root: &Path, finished: &Path) -> io::Result<()> {
        sync_all(&self.path)?;
        std::fs::rename(&self.path, finished)?;
        // Its name is free for others from here on.
        self.finished = true;
        sync(root)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.finished {
            // What cannot be removed stands in nobody's way.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// A name that no other thread of this process has, for a folder that is not
/// whole.
fn unfinished(root: &Path, name: &str) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    root.join(format!(".{name}-{}-{number}", std::process::id()))
}

/// Removes what processes that have ended left half-written below `root`.
pub(crate) fn sweep(root: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(root)? {
        let path = entry?.path();
        let is_staging = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if is_staging && let Some(_lock) = lock(&path)? {
            std::fs::remove_dir_all(&path)?;
        }
    }
    Ok(())
}

/// The lock of a folder; none if somebody has it, or if it is gone.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    let file = match File::open(folder) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        // It may have been swept between the two calls.
        Ok(()) => Ok(is_there(folder).then_some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether anything has that name, a link that leads nowhere included.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Whether the files below `folder` still have that digest.
pub(crate) fn has_digest(folder: &Path, expected: &str) -> bool {
    // A kept folder is one of ours and never reached by a link.
    folder.symlink_metadata().is_ok_and(|found| found.is_dir())
        && read::files_as_they_are(folder).is_ok_and(|files| digest(&files) == expected)
}

/// Writes one file whose name [`Names`](super::name::Names) has admitted.
pub(crate) fn write_file(staging: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let mut made = staging.to_owned();
    let (folders, file) = name.rsplit_once('/').unwrap_or(("", name));
    for part in folders.split('/').filter(|part| !part.is_empty()) {
        made.push(part);
        if !made.is_dir() {
            crate::folder::create(&made)?;
        }
    }
    crate::folder::write_file(&made.join(file), content)
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes everything below durable, the innermost first. Only now and not file
/// by file as they are written: the first of many commits then carries most.
fn sync_all(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_all(&entry.path())?;
        } else {
            sync(&entry.path())?;
        }
    }
    sync(folder)
}
