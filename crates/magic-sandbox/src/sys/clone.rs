//! `clone(2)` as the jail needs it: a sibling in new namespaces, with a process descriptor.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use super::checked;

/// Which of the two processes this is.
pub(crate) enum Cloned {
    /// The calling process, with the new one's number and descriptor.
    Caller { pid: i32, pidfd: OwnedFd },
    /// The new process.
    New,
}

/// Makes a process whose parent is the caller's parent, in the namespaces that `namespaces` names.
///
/// `CLONE_PARENT` makes the supervisor the parent, so that it may wait for the program and the
/// parent-death signal follows the supervisor. `CLONE_PIDFD` names the process without the race of
/// a number. The exit signal is the caller's own (`clone(2)`, under `CLONE_PARENT`).
pub(crate) fn clone_sibling(namespaces: libc::c_int) -> io::Result<Cloned> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let flags = namespaces | libc::CLONE_PARENT | libc::CLONE_PIDFD | libc::SIGCHLD;
    let mut pidfd: libc::c_int = -1;
    // SAFETY: without CLONE_VM the new process gets a copy of the address space, so a null stack
    // pointer means that both go on with their own copy of this one. `pidfd` outlives the call, and
    // the process has a single thread (checked above), so no lock is held that the copy could miss.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_clone,
            libc::c_long::from(flags),
            std::ptr::null_mut::<libc::c_void>(),
            &raw mut pidfd,
            std::ptr::null_mut::<libc::c_int>(),
            std::ptr::null_mut::<libc::c_void>(),
        )
    };
    let pid = checked(answer)?;
    if pid == 0 {
        return Ok(Cloned::New);
    }
    // SAFETY: CLONE_PIDFD stored a fresh descriptor here, in the caller only, and nobody else owns it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let pid = i32::try_from(pid).map_err(io::Error::other)?;
    Ok(Cloned::Caller { pid, pidfd })
}
