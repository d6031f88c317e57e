//! The few things that the log asks of the file system.
//!
//! They stand behind a trait for one reason: what a disk does when it fails or loses power cannot be ordered from a real one,
//! and that is exactly what must be tested. There is one implementation in the program, and it is this short so that there is
//! nothing in it to test but the kernel.

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Where the log's files are.
pub(super) trait Medium: Debug + Send + Sync {
    /// Makes a new file; it must not exist.
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>>;
    /// Opens a file, to go on at its end.
    fn open(&self, path: &Path) -> io::Result<Box<dyn AppendFile>>;
    /// Makes durable which names a folder holds.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    /// Puts a small file in place of an older one. After a loss of power the file is the old or the new one, whole.
    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()>;
}

/// A file that only grows.
pub(super) trait AppendFile: Debug + Send {
    /// Writes at the end. After an error, some of it may be there.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes durable what was written. After an error nothing is known of what was written since the last success: the kernel
    /// may have dropped it and will not report that a second time.
    fn sync(&mut self) -> io::Result<()>;
}

/// The real file system.
#[derive(Debug)]
pub(super) struct FileSystem;

impl Medium for FileSystem {
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        Ok(Box::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        Ok(Box::new(OpenOptions::new().append(true).open(path)?))
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let unfinished = path.with_extension("new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.write_all(content)?;
        // Without this, some file systems make the rename durable before the bytes.
        file.sync_data()?;
        std::fs::rename(&unfinished, path)
    }
}

impl AppendFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Makes a folder that only its owner can look into, and those above it, where they are missing. When it returns their names
/// are durable: what is synced in a folder whose own name was not is lost with the power all the same.
///
/// # Errors
///
/// What the kernel said.
pub fn create_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        create_directory(parent)?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_directory_of(path),
    }
}

/// Makes durable the name of a file or folder.
pub(super) fn sync_directory_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        Some(_) => File::open(".")?.sync_all(),
        None => Ok(()),
    }
}
