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

/// Keeps what `write` writes below `root`, in a folder of that name, and
/// returns the folder. `is_sound` judges what is there already.
pub(crate) fn keep(
    root: &Path,
    name: &str,
    is_sound: impl Fn(&Path) -> bool,
    write: impl FnOnce(&Path) -> io::Result<()>,
) -> Result<PathBuf, KeepError> {
    let finished = root.join(name);
    let existing = || {
        if is_sound(&finished) {
            Ok(finished.clone())
        } else {
            Err(KeepError::Changed(finished.clone()))
        }
    };
    if is_there(&finished) {
        return existing();
    }
    let failed = |source| KeepError::Write {
        path: root.to_owned(),
        source,
    };
    let staging = Staging::begin(root, name).map_err(failed)?;
    let written = write(staging.path()).and_then(|()| staging.finish(root, &finished));
    match written {
        Ok(()) => Ok(finished),
        // Somebody else was faster.
        Err(_) if is_there(&finished) => {
            sync(root).map_err(failed)?;
            existing()
        }
        Err(error) => Err(failed(error)),
    }
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
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = root.join(format!(".{name}-{}-{number}", std::process::id()));
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
