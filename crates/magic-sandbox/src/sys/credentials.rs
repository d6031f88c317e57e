//! What `prctl(2)` and `keyctl(2)` change about the calling process's authority.

use std::io;

use super::checked;

/// Takes capability number `capability` out of the bounding set. `EINVAL` means that the kernel knows
/// no capability of that number.
pub(crate) fn drop_from_bounding_set(capability: u32) -> io::Result<()> {
    // SAFETY: the option takes plain numbers; no memory is involved.
    let answer = unsafe {
        libc::prctl(
            libc::PR_CAPBSET_DROP,
            libc::c_ulong::from(capability),
            0_u64,
            0_u64,
            0_u64,
        )
    };
    checked(answer.into()).map(drop)
}

/// Gives the process a session keyring of its own, empty and without a name.
pub(crate) fn new_session_keyring() -> io::Result<()> {
    // SAFETY: a null name asks for an anonymous keyring (keyctl(2)); no memory is read.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            libc::c_long::from(libc::KEYCTL_JOIN_SESSION_KEYRING),
            std::ptr::null::<libc::c_char>(),
        )
    };
    checked(answer).map(drop)
}
