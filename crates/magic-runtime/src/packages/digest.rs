//! The digest of a folder of files that are too large to be held in memory.

use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// SHA-256 over the names and contents of all files below `folder`, in
/// hexadecimal. Anything but files and folders is an error: we wrote none.
pub(super) fn of(folder: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    add(folder, "", &mut hash)?;
    Ok(crate::bundle::hexadecimal(&hash.finalize()))
}

/// SHA-256 of one stream, in hexadecimal, handing on what was read.
pub(super) fn of_stream(
    mut stream: impl Read,
    mut also: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(crate::bundle::hexadecimal(&hash.finalize())),
            count => {
                hash.update(&buffer[..count]);
                also(&buffer[..count])?;
            }
        }
    }
}

fn add(folder: &Path, prefix: &str, hash: &mut Sha256) -> io::Result<()> {
    let mut entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().into_string().map_err(|_| foreign())?;
        let name = format!("{prefix}{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() {
            add(&entry.path(), &format!("{name}/"), hash)?;
        } else if kind.is_file() {
            hash.update(format!("{}:{name}:", name.len()));
            hash.update(of_stream(File::open(entry.path())?, |_| Ok(()))?);
        } else {
            return Err(foreign());
        }
    }
    Ok(())
}

fn foreign() -> io::Error {
    io::Error::other("something that was never written here")
}
