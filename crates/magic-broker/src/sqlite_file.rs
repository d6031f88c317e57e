//! What must hold of a SQLite file before SQLite opens it.
//!
//! SQLite syncs what it writes, and the name of its log; it leaves three things
//! to whoever owns the file. A folder that was just made must have a durable
//! name, or the whole of it is lost with the power. The name of the file itself
//! may never have been synced, if the process that made it was killed. And what
//! a killed process has written may be in memory alone, even after a sync that
//! failed: the kernel then calls the pages clean and keeps them, so the next
//! process would read a commit that the disk does not have, build on it, and
//! lose everything behind it with the power. So the pages are written out and
//! forgotten, and what SQLite reads is what the disk has.

use rustix::fs::{Advice, fadvise};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Makes the file and its folders where they are missing, for their owner alone
/// (SQLite gives the companions of a file its permissions), and makes durable
/// what is there. Gives the size of the file.
///
/// # Errors
///
/// What the system says.
pub(crate) async fn prepare(path: &Path) -> io::Result<u64> {
    let path = path.to_owned();
    // Off the event loop, since a disk takes as long as it takes.
    tokio::task::spawn_blocking(move || prepare_now(&path))
        .await
        .map_err(io::Error::other)?
}

fn prepare_now(path: &Path) -> io::Result<u64> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    make_folder(folder)?;
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    write_out_and_forget(&file)?;
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    match File::open(PathBuf::from(log)) {
        Ok(log) => write_out_and_forget(&log)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    File::open(folder)?.sync_all()?;
    Ok(file.metadata()?.len())
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
    let above = match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    make_folder(above)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => File::open(above)?.sync_all(),
    }
}
