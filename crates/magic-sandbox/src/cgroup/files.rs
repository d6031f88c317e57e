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

/// The processes that a `cgroup.procs` file lists. A group that was removed has none.
pub(super) fn read_pids(path: &Path) -> Result<Vec<i32>, GroupError> {
    let list = match fs::read_to_string(path) {
        Ok(list) => list,
        Err(error) if group_is_gone(&error) => return Ok(Vec::new()),
        Err(source) => {
            return Err(GroupError::Read {
                path: path.to_path_buf(),
                source,
            });
        }
    };
    Ok(list.lines().filter_map(|line| line.parse().ok()).collect())
}
