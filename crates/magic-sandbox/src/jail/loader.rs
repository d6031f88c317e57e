//! The loader that an ELF program names, which the kernel executes beside it.
//!
//! Landlock checks the right to execute for the program and for its loader alike, so the loader must be
//! known before the domain is entered. Only the program header table is read, with every offset checked:
//! the file is trusted, but it may be any file by mistake.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const MAGIC: &[u8] = b"\x7fELF";
const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
/// `PT_INTERP` of `elf(5)`.
const INTERPRETER: u32 = 3;

/// The path in the program's `PT_INTERP` header; `None` for a static program or another format.
pub(super) fn of(program: &Path) -> io::Result<Option<PathBuf>> {
    let file = File::open(program)?;
    let mut head = [0_u8; 64];
    if file.read_exact_at(&mut head, 0).is_err()
        || !head.starts_with(MAGIC)
        || head[4] != CLASS_64
        || head[5] != LITTLE_ENDIAN
    {
        return Ok(None);
    }
    let table = number(&head[32..40]);
    let entry_size = number(&head[54..56]);
    let entries = number(&head[56..58]).min(256);
    for index in 0..entries {
        let Some(at) = index
            .checked_mul(entry_size)
            .and_then(|offset| table.checked_add(offset))
        else {
            return Ok(None);
        };
        let mut entry = [0_u8; 56];
        file.read_exact_at(&mut entry, at)?;
        if number(&entry[0..4]) != u64::from(INTERPRETER) {
            continue;
        }
        let length = usize::try_from(number(&entry[32..40]))
            .unwrap_or(0)
            .min(4096);
        let mut path = vec![0_u8; length];
        file.read_exact_at(&mut path, number(&entry[8..16]))?;
        path.truncate(path.iter().position(|byte| *byte == 0).unwrap_or(length));
        return Ok(Some(PathBuf::from(std::ffi::OsString::from_vec(path))));
    }
    Ok(None)
}

/// A little-endian number of up to eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, byte| (value << 8) | u64::from(*byte))
}
