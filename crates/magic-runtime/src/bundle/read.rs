//! Reads a controller's folder, once, within bounds and following no link.

use super::name::{Names, is_leftover};
use super::{BOUNDS, malformed};
use magic_contract::Failure;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The files of a controller in `folder`, without what tools leave behind.
pub(super) fn files(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    Reading::of(folder, true)
}

/// All files in a folder of our own: something beside those that were kept is
/// a change too.
pub(super) fn files_as_they_are(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    Reading::of(folder, false)
}

struct Reading {
    without_leftovers: bool,
    names: Names,
    files: BTreeMap<String, Vec<u8>>,
    left: u64,
}

impl Reading {
    fn of(folder: &Path, without_leftovers: bool) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
        let mut reading = Self {
            without_leftovers,
            names: Names::default(),
            files: BTreeMap::new(),
            left: BOUNDS.bytes,
        };
        // The folder itself may be a link: its name is the operator's.
        let top = open_folder(CWD, folder.as_os_str(), folder, OFlags::empty())?;
        reading.read_folder(&top, folder, "")?;
        Ok(reading.files)
    }

    /// Everything below is opened by its name in a folder that is open already.
    /// A path would be resolved anew each time, and whoever may write the folder
    /// could put a link in the middle of it between two looks.
    fn read_folder(&mut self, folder: &OwnedFd, shown: &Path, prefix: &str) -> Result<(), Failure> {
        let entries = Dir::read_from(folder).map_err(|error| unreadable(shown, error.into()))?;
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(shown, error.into()))?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let path = shown.join(name);
            let leftover = name.to_str().is_some_and(is_leftover);
            if leftover && self.without_leftovers {
                continue;
            }
            let relative = [prefix.as_bytes(), name.as_bytes()].concat();
            let unfit = |reason| malformed(format!("`{}` is refused: {reason}", path.display()));
            let status = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| unreadable(&path, error.into()))?;
            match FileType::from_raw_mode(status.st_mode) {
                FileType::Directory => {
                    // Beneath an unbounded depth lies an unbounded stack.
                    self.names.folder(&relative).map_err(unfit)?;
                    let inner = open_folder(folder.as_fd(), name, &path, OFlags::NOFOLLOW)?;
                    let prefix = format!("{}/", String::from_utf8_lossy(&relative));
                    self.read_folder(&inner, &path, &prefix)?;
                }
                FileType::RegularFile => {
                    if self.files.len() == BOUNDS.files {
                        return Err(malformed(format!(
                            "`{}` has more than {} files",
                            shown.display(),
                            BOUNDS.files
                        )));
                    }
                    let relative = self.names.file(&relative).map_err(unfit)?;
                    let content = read_file(folder, name, &path, &mut self.left)?;
                    self.files.insert(relative, content);
                }
                _ => {
                    return Err(malformed(format!(
                        "`{}` is a link or a special file; a controller consists of regular files",
                        path.display()
                    )));
                }
            }
        }
        Ok(())
    }
}

fn unreadable(path: &Path, error: io::Error) -> Failure {
    malformed(format!("`{}` cannot be read: {error}", path.display()))
}

fn open_folder(
    at: BorrowedFd<'_>,
    name: &OsStr,
    shown: &Path,
    flags: OFlags,
) -> Result<OwnedFd, Failure> {
    let flags = flags | OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
        .map_err(|error| unreadable(shown, error.into()))
}

fn read_file(
    folder: &OwnedFd,
    name: &OsStr,
    shown: &Path,
    left: &mut u64,
) -> Result<Vec<u8>, Failure> {
    // The kind was seen a moment ago; a link or a pipe put there since must
    // neither be followed nor block.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, name, flags, Mode::empty())
        .map(std::fs::File::from)
        .map_err(|error| unreadable(shown, error.into()))?;
    let metadata = file.metadata().map_err(|error| unreadable(shown, error))?;
    if !metadata.is_file() {
        return Err(malformed(format!(
            "`{}` is not a regular file",
            shown.display()
        )));
    }
    let mut content = Vec::new();
    let count = file
        .take(*left + 1)
        .read_to_end(&mut content)
        .map_err(|error| unreadable(shown, error))?;
    *left = left.checked_sub(count as u64).ok_or_else(|| {
        malformed(format!(
            "the folder has more than {} MiB of files",
            BOUNDS.bytes / (1024 * 1024)
        ))
    })?;
    Ok(content)
}
