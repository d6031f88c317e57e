//! The question which answers a system call filter may give here.

use std::io;

use super::checked;

/// Whether the kernel, and whatever filter this process is under, knows `SECCOMP_GET_ACTION_AVAIL`
/// (Linux 4.14) and calls `action` available. It installs nothing.
pub(crate) fn action_is_available(action: u32) -> io::Result<()> {
    // SAFETY: the kernel reads the four bytes of `action`, which outlives the call.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_GET_ACTION_AVAIL,
            0_u32,
            &raw const action,
        )
    };
    checked(answer).map(drop)
}
