//! The descriptor table of the jail: fixed numbers for the program, nothing else open.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::checked;

/// Puts `wanted` at 0, 1, 2 …, then `report` (close-on-exec) at the next number, and closes all others.
///
/// Every other descriptor of the process is gone afterwards, whoever held it: the caller must hold
/// none that it still wants. Numbers are what counts here, so the table is first moved out of the way.
pub(crate) fn arrange(wanted: Vec<OwnedFd>, report: OwnedFd) -> io::Result<OwnedFd> {
    let count = RawFd::try_from(wanted.len()).map_err(io::Error::other)?;
    let mut moved = Vec::with_capacity(wanted.len() + 1);
    for descriptor in wanted.into_iter().chain([report]) {
        // SAFETY: a plain descriptor call; `descriptor` is open because it is owned.
        let number = unsafe {
            libc::fcntl(
                descriptor.as_raw_fd(),
                libc::F_DUPFD_CLOEXEC,
                libc::c_int::max(count + 1, 64),
            )
        };
        checked(number.into())?;
        moved.push(number);
        // The duplicate stays; the original goes with the table below.
        std::mem::forget(descriptor);
    }
    for (number, source) in (0..).zip(&moved) {
        let flags = if number == count { libc::O_CLOEXEC } else { 0 };
        // SAFETY: both numbers are below the limit of the table, `source` was made above, and it
        // differs from `number` since it is above `count`.
        let answer = unsafe { libc::dup3(*source, number, flags) };
        checked(answer.into())?;
    }
    // SAFETY: closes numbers only; the caller of `arrange` promises to hold none of them.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            libc::c_long::from(count + 1),
            libc::c_long::from(u32::MAX),
            0_u64,
        )
    };
    checked(answer)?;
    // SAFETY: number `count` was made by dup3 just above and has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(count) })
}

/// Whether descriptor `number` is open.
pub(crate) fn is_open(number: RawFd) -> bool {
    // SAFETY: F_GETFD reads a flag of the table and touches no memory.
    unsafe { libc::fcntl(number, libc::F_GETFD) != -1 }
}

/// Ends the process at once, without running destructors or flushing anything.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: never returns and touches no state of this process.
    unsafe { libc::_exit(status) }
}
