//! Secrets in a directory with one file per secret: credentials of systemd, Docker, Kubernetes.
//!
//! The file's name is the secret's name, which [`SecretName`] keeps to letters, digits and
//! underscores. It is opened with `openat2(2)` and `RESOLVE_BENEATH`: Kubernetes reaches its files
//! through links inside the directory and exchanges one of them to rotate, so links are followed,
//! but none that leads out of the directory. It is read anew for every call.
//!
//! A filter that cannot look into the argument of that call answers that there is no such call, as systemd's
//! `RestrictSUIDSGID=` does. Then no link is followed at all, which credentials of systemd do not need.

use super::value::{SecretValue, ValueProblem};
use super::whole_file::{WholeFileError, read_whole};
use jiff::Timestamp;
use magic_contract::SecretName;
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, ResolveFlags, openat, openat2, statat};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a file that is just being exchanged or rewritten is tried.
const ATTEMPTS: u32 = 4;
/// How long to wait between two attempts.
const PAUSE: Duration = Duration::from_millis(5);
/// More files than this are not listed.
const LISTED_FILES: usize = 10_000;

/// A directory, or a file of it, cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// The directory cannot be opened.
    #[error("the directory of secrets {} cannot be opened", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// What the kernel says.
        source: Errno,
    },
    /// The directory cannot be listed.
    #[error("the directory of secrets {} cannot be listed", path.display())]
    List {
        /// The directory.
        path: PathBuf,
        /// What the kernel says.
        source: Errno,
    },
    /// A link leads out of the directory.
    #[error("{} is a link that leads out of its directory; links may lead to files beneath it only", path.display())]
    LeadsOut {
        /// The link.
        path: PathBuf,
    },
    /// A link leads nowhere.
    #[error("{} is a link to a file that is not there", path.display())]
    LeadsNowhere {
        /// The link.
        path: PathBuf,
    },
    /// A file cannot be opened.
    #[error("{} cannot be opened", path.display())]
    OpenFile {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: Errno,
    },
    /// A file cannot be read whole.
    #[error("{} cannot be used", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: WholeFileError,
    },
    /// A file's content cannot be a secret.
    #[error("{} cannot be used: {problem}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// Why not.
        problem: ValueProblem,
    },
}

impl DirectoryError {
    /// Whether it is what a rotation under way looks like.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::LeadsNowhere { .. }
            | Self::File {
                source: WholeFileError::Changing,
                ..
            }
            | Self::Value {
                problem: ValueProblem::Empty,
                ..
            } => true,
            Self::Open { source, .. } | Self::OpenFile { source, .. } => {
                matches!(*source, Errno::AGAIN | Errno::NFILE | Errno::MFILE)
            }
            _ => false,
        }
    }
}

/// One directory.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
}

impl Directory {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The value in the file of that name; `None` when there is no such file, or no directory.
    pub(super) fn get(&self, name: &SecretName) -> Result<Option<SecretValue>, DirectoryError> {
        let mut attempt = 1;
        loop {
            match self.try_get(name) {
                Err(error) if error.is_passing() && attempt < ATTEMPTS => {
                    attempt += 1;
                    std::thread::sleep(PAUSE);
                }
                other => return other,
            }
        }
    }

    fn try_get(&self, name: &SecretName) -> Result<Option<SecretValue>, DirectoryError> {
        let Some(directory) = self.open()? else {
            return Ok(None);
        };
        let path = || self.path.join(name.as_str());
        let Some(file) = self.open_file(&directory, name)? else {
            return Ok(None);
        };
        let (bytes, _) = read_whole(&file, SecretValue::SOURCE_LIMIT).map_err(|source| {
            DirectoryError::File {
                path: path(),
                source,
            }
        })?;
        SecretValue::from_source(bytes)
            .map(Some)
            .map_err(|problem| DirectoryError::Value {
                path: path(),
                problem,
            })
    }

    fn open(&self) -> Result<Option<OwnedFd>, DirectoryError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match openat(CWD, &self.path, flags, Mode::empty()) {
            Ok(directory) => Ok(Some(directory)),
            Err(Errno::NOENT) => Ok(None),
            Err(source) => Err(DirectoryError::Open {
                path: self.path.clone(),
                source,
            }),
        }
    }

    /// `NONBLOCK` because opening a pipe would wait for its other end.
    fn open_file(
        &self,
        directory: &OwnedFd,
        name: &SecretName,
    ) -> Result<Option<File>, DirectoryError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let path = || self.path.join(name.as_str());
        let opened = match openat2(directory, name.as_str(), flags, Mode::empty(), resolve) {
            Err(Errno::NOSYS) => {
                let flags = flags | OFlags::NOFOLLOW;
                openat(directory, name.as_str(), flags, Mode::empty())
            }
            opened => opened,
        };
        match opened {
            Ok(file) => Ok(Some(File::from(file))),
            Err(Errno::NOENT) => {
                // A name that is not there is no secret of this directory. A link whose target
                // is missing is one, in the middle of an exchange or forgotten.
                match statat(directory, name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
                    Err(Errno::NOENT) => Ok(None),
                    _ => Err(DirectoryError::LeadsNowhere { path: path() }),
                }
            }
            Err(Errno::XDEV | Errno::LOOP) => Err(DirectoryError::LeadsOut { path: path() }),
            Err(source) => Err(DirectoryError::OpenFile {
                path: path(),
                source,
            }),
        }
    }

    /// The names of files that can be secrets, sorted, each with the time of its last change.
    pub(super) fn list(&self) -> Result<Vec<(SecretName, Option<Timestamp>)>, DirectoryError> {
        let Some(directory) = self.open()? else {
            return Ok(Vec::new());
        };
        let failed = |source| DirectoryError::List {
            path: self.path.clone(),
            source,
        };
        let mut listed = Vec::new();
        for entry in Dir::read_from(&directory)
            .map_err(failed)?
            .take(LISTED_FILES)
        {
            let entry = entry.map_err(failed)?;
            let Some(name) = entry
                .file_name()
                .to_str()
                .ok()
                .and_then(|text| text.parse().ok())
            else {
                continue;
            };
            let Ok(Some(file)) = self.open_file(&directory, &name) else {
                continue;
            };
            let Ok(metadata) = file.metadata() else {
                continue;
            };
            if metadata.is_file() {
                let changed_at = metadata.modified().ok();
                let changed_at = changed_at.and_then(|time| Timestamp::try_from(time).ok());
                listed.push((name, changed_at));
            }
        }
        listed.sort();
        Ok(listed)
    }
}

#[cfg(test)]
mod tests;
