//! `getrandom(2)`.

use std::io;

/// A 64-bit number from the kernel's generator.
pub(crate) fn random_number() -> io::Result<u64> {
    let mut bytes = [0_u8; 8];
    // SAFETY: the buffer is eight writable bytes, and its length is passed with it.
    let answer = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    // The kernel never gives short answers below 256 bytes (getrandom(2)).
    if answer != 8 {
        return Err(io::Error::last_os_error());
    }
    Ok(u64::from_ne_bytes(bytes))
}
