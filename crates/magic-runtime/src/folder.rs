//! Files and folders that a sandbox with a host uid of its own must be able to
//! read, whatever umask the supervisor was started with.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Creates a folder and its parents; the folder itself is readable by everybody.
pub(crate) fn create(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o755))
}

/// Creates a folder and its parents; the folder itself is its owner's alone.
pub(crate) fn create_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o700))
}

/// Makes a new file that everybody may read and nobody may write by mistake.
/// The file must not exist: a link left in its place is never followed.
pub(crate) fn create_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(0o644))?;
    Ok(file)
}

/// Writes a new file, as [`create_file`] makes it.
pub(crate) fn write_file(path: &Path, content: &[u8]) -> io::Result<()> {
    create_file(path)?.write_all(content)
}
