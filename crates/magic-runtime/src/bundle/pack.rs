//! Writes a bundle as an archive, the same bytes for the same files.
//!
//! A tar whose names are sorted and whose times, owners and modes are constant,
//! compressed with zstd on one thread at a fixed level. A bundle's address is
//! nevertheless taken over its names and contents and not over these bytes:
//! compressors change what they write from version to version, and then the
//! same folder would be another version of a controller on the day that the
//! runtime was updated. An archive made by `tar` has the same address, too.

use std::collections::BTreeMap;
use std::io;

/// zstd's own default.
const LEVEL: i32 = 3;

/// The archive of these files.
pub(super) fn pack(files: &BTreeMap<String, Vec<u8>>) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), LEVEL)?;
    encoder.include_checksum(true)?;
    let mut archive = tar::Builder::new(encoder);
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        archive.append_data(&mut header, name, content.as_slice())?;
    }
    archive.into_inner()?.finish()
}
