//! What must hold of a SQLite file before SQLite opens it.
//!
//! SQLite syncs what it writes. It leaves to its user that the folder's name and
//! the file's name are durable, and what a killed process left in memory only:
//! after a sync that failed the kernel calls such pages clean and keeps them, so
//! the next process would build on a commit that the disk does not have. So the
//! names are synced, and the pages are written out and forgotten before they are
//! read.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};

/// Makes the file and its folders where they are missing, for their owner alone
/// (SQLite gives the companions of a file its permissions), takes away what
/// others may do with it, and makes durable what is there.
pub(super) fn prepare(path: &Path) -> io::Result<()> {
    let folder = folder_of(path);
    make_folder(folder)?;
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    let mut permissions = file.metadata()?.permissions();
    if permissions.mode() & 0o077 != 0 {
        permissions.set_mode(0o600);
        file.set_permissions(permissions)?;
    }
    write_out_and_forget(&file)?;
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    match File::open(PathBuf::from(log)) {
        Ok(log) => write_out_and_forget(&log)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    sync_folder(folder)
}

/// The folder that a file is in.
pub(super) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn write_out_and_forget(file: &File) -> io::Result<()> {
    file.sync_all()?;
    fadvise(file, 0, None, Advice::DontNeed)?;
    Ok(())
}

/// Makes a folder and those above it, each with a durable name.
fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = folder_of(path);
    make_folder(above)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(above),
    }
}
