//! Signal dispositions, which survive `execve` when they are "ignore".

use super::checked;
use std::io;

/// Gives every signal its default action and unblocks all of them.
///
/// The Rust runtime ignores SIGPIPE, and a supervisor may have blocked others; the program should
/// start as if from a fresh login.
pub(crate) fn reset_all() -> io::Result<()> {
    for signal in 1..=libc::SIGRTMAX() {
        if signal == libc::SIGKILL || signal == libc::SIGSTOP {
            continue;
        }
        // SAFETY: the default action runs no code of this process. Numbers that the C library keeps
        // for itself answer EINVAL, which changes nothing.
        let _ = unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: sigset_t is plain data for which all zeroes is a valid value.
    let mut none: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `none` is a writable sigset_t.
    let answer = unsafe { libc::sigemptyset(&raw mut none) };
    checked(answer.into())?;
    // SAFETY: `none` was made empty just above, and the old mask is not asked for.
    let answer =
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) };
    checked(answer.into()).map(drop)
}
