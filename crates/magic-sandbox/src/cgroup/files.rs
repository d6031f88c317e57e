//! Reading and writing the small files of a group, with the path in every error.

use std::fs;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::GroupError;

pub(super) fn read(path: &Path) -> Result<String, GroupError> {
    fs::read_to_string(path).map_err(|source| GroupError::Read {
        path: path.to_path_buf(),
        source,
    })
}

/// A file that holds one number.
pub(super) fn read_number(path: &Path) -> Result<u64, GroupError> {
    Ok(read(path)?.trim().parse().unwrap_or(0))
}

/// The number behind `key` in a file of `key number` lines; 0 if the kernel has no such line.
pub(super) fn read_keyed(path: &Path, key: &str) -> Result<u64, GroupError> {
    Ok(keyed(&read(path)?, key))
}

pub(super) fn keyed(content: &str, key: &str) -> u64 {
    content
        .lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(name, _)| *name == key)
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}

pub(super) fn write(path: &Path, value: &str) -> Result<(), GroupError> {
    fs::write(path, value).map_err(|source| GroupError::Write {
        path: path.to_path_buf(),
        value: value.to_owned(),
        source,
    })
}

/// Opens for writing and keeps open: the permission to write was checked by then.
pub(super) fn open_writer(path: PathBuf) -> Result<OwnedFd, GroupError> {
    match File::options().write(true).open(&path) {
        Ok(file) => Ok(file.into()),
        Err(source) => Err(GroupError::Read { path, source }),
    }
}

/// Whether a file of a group is gone because the group is. An open one answers ENODEV then.
pub(super) fn group_is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV))
}

/// Opens for reading again and again.
pub(super) fn open_reader(path: PathBuf) -> Result<OwnedFd, GroupError> {
    match File::open(&path) {
        Ok(file) => Ok(file.into()),
        Err(source) => Err(GroupError::Read { path, source }),
    }
}

/// The content now of a short file that stays open, which the kernel gives in one piece. A group that
/// was removed has none. `group` names it in errors.
pub(super) fn reread_short(file: &OwnedFd, group: &Path) -> Result<String, GroupError> {
    let mut chunk = [0; 1024];
    match rustix::io::pread(file, &mut chunk, 0).map_err(io::Error::from) {
        Ok(count) if count < chunk.len() => {
            Ok(String::from_utf8_lossy(&chunk[..count]).into_owned())
        }
        Ok(_) => reread(file, group),
        Err(error) if group_is_gone(&error) => Ok(String::new()),
        Err(source) => Err(GroupError::Read {
            path: group.to_path_buf(),
            source,
        }),
    }
}

/// The content now of a file that stays open, whatever its length.
pub(super) fn reread(file: &OwnedFd, group: &Path) -> Result<String, GroupError> {
    let mut content = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match rustix::io::pread(file, &mut chunk, content.len() as u64).map_err(io::Error::from) {
            Ok(0) => return Ok(String::from_utf8_lossy(&content).into_owned()),
            Ok(count) => content.extend_from_slice(&chunk[..count]),
            Err(error) if group_is_gone(&error) => return Ok(String::new()),
            Err(source) => {
                return Err(GroupError::Read {
                    path: group.to_path_buf(),
                    source,
                });
            }
        }
    }
}

/// The processes that a `cgroup.procs` file lists. A group that was removed has none.
pub(super) fn read_pids(path: &Path) -> Result<Vec<i32>, GroupError> {
    let list = match open_reader(path.to_path_buf()) {
        Ok(file) => reread(&file, path)?,
        Err(GroupError::Read { source, .. }) if group_is_gone(&source) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    Ok(list.lines().filter_map(|line| line.parse().ok()).collect())
}
