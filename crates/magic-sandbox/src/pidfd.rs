//! A process by descriptor instead of by number.
//!
//! A number may belong to another process by the time it is used. A process descriptor never does:
//! it names one process for good, can be polled for its end, and after 6.15 even tells how a process
//! ended that somebody else has reaped, which is how a supervisor learns about its grandchildren
//! without asking the hostile process between them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

use crate::sys;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ended {
    /// It exited with this status.
    Exited(i32),
    /// This signal killed it.
    Signaled(i32),
}

impl Ended {
    /// Reads a wait status as `waitpid(2)` and `PIDFD_GET_INFO` encode it.
    #[must_use]
    pub const fn from_wait_status(status: i32) -> Self {
        if status & 0x7f == 0 {
            Self::Exited((status >> 8) & 0xff)
        } else {
            Self::Signaled(status & 0x7f)
        }
    }

    /// Whether the system call filter killed the process.
    #[must_use]
    pub const fn is_filter_kill(self) -> bool {
        matches!(self, Self::Signaled(libc::SIGSYS))
    }
}

/// Which pid namespace. Meaningful for as long as a process of it lives; its number may be given to
/// another one afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PidNamespace {
    device: u64,
    inode: u64,
}

/// A process descriptor, readable (in the sense of `poll(2)`) once the process has ended.
#[derive(Debug)]
pub struct PidFd {
    descriptor: OwnedFd,
    pid: i32,
}

impl PidFd {
    /// Opens the process that has the number `pid` now.
    ///
    /// # Errors
    /// `ESRCH` if there is none, `EINVAL` for a number that is no process id.
    pub fn open(pid: i32) -> io::Result<Self> {
        let number =
            Pid::from_raw(pid).ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        let descriptor = rustix::process::pidfd_open(number, PidfdFlags::empty())?;
        Ok(Self { descriptor, pid })
    }

    /// Wraps a descriptor that the kernel made for the process with the number `pid`.
    pub(crate) const fn from_descriptor(descriptor: OwnedFd, pid: i32) -> Self {
        Self { descriptor, pid }
    }

    /// The process's number in the pid namespace of this process, at the time of opening.
    #[must_use]
    pub const fn pid(&self) -> i32 {
        self.pid
    }

    /// Sends the signal with this number.
    ///
    /// # Errors
    /// `ESRCH` once the process has been reaped, `EPERM` without the right to signal it.
    pub fn send_signal(&self, signal: i32) -> io::Result<()> {
        let signal = Signal::from_named_raw(signal)
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        Ok(rustix::process::pidfd_send_signal(
            &self.descriptor,
            signal,
        )?)
    }

    /// Sends SIGKILL; a process that is gone already counts as killed.
    ///
    /// # Errors
    /// As [`PidFd::send_signal`], without `ESRCH`.
    pub fn kill(&self) -> io::Result<()> {
        match self.send_signal(libc::SIGKILL) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            other => other,
        }
    }

    /// Whether the process still runs. A zombie does not.
    ///
    /// # Errors
    /// Only if `poll(2)` fails, which means that this process is out of memory.
    pub fn is_alive(&self) -> io::Result<bool> {
        let mut entries = [PollFd::new(&self.descriptor, PollFlags::IN)];
        let now = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        Ok(rustix::event::poll(&mut entries, Some(&now))? == 0)
    }

    /// Waits for the process to end and reaps it. Only the parent may.
    ///
    /// # Errors
    /// `ECHILD` if this process is not the parent or the process was reaped before.
    pub fn wait(&self) -> io::Result<Ended> {
        loop {
            let id = WaitId::PidFd(self.descriptor.as_fd());
            match rustix::process::waitid(id, WaitIdOptions::EXITED) {
                Ok(Some(status)) => return Ok(ended(&status)),
                Ok(None) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reaps the process if it has ended. Only the parent may; never blocks.
    ///
    /// # Errors
    /// As [`PidFd::wait`].
    pub fn try_wait(&self) -> io::Result<Option<Ended>> {
        let id = WaitId::PidFd(self.descriptor.as_fd());
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let status = rustix::process::waitid(id, options)?;
        Ok(status.map(|status| ended(&status)))
    }

    /// How a child ended, if it has, without reaping it: whoever reaps may still come. Never blocks.
    ///
    /// # Errors
    /// As [`PidFd::wait`].
    pub fn peek(&self) -> io::Result<Option<Ended>> {
        let id = WaitId::PidFd(self.descriptor.as_fd());
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = rustix::process::waitid(id, options)?;
        Ok(status.map(|status| ended(&status)))
    }

    /// How the process ended, from the kernel and not from its parent (`PIDFD_GET_INFO` with
    /// `PIDFD_INFO_EXIT`, Linux 6.15). `None` while it runs or waits for its parent to reap it.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] where the kernel does not tell.
    pub fn exit_information(&self) -> io::Result<Option<Ended>> {
        match sys::pidfd::exit_status(&self.descriptor) {
            Ok(status) => Ok(status.map(Ended::from_wait_status)),
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ENOTTY | libc::EINVAL | libc::ESRCH | libc::EOPNOTSUPP)
                ) =>
            {
                Err(io::Error::from(io::ErrorKind::Unsupported))
            }
            Err(error) => Err(error),
        }
    }

    /// The pid namespace in which this process lives.
    ///
    /// # Errors
    /// `ESRCH` if it has ended meanwhile, `EPERM` without the right to look.
    pub fn pid_namespace(&self) -> io::Result<PidNamespace> {
        let status = match sys::pidfd::pid_namespace(&self.descriptor) {
            Ok(namespace) => rustix::fs::fstat(namespace)?,
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOTTY | libc::EINVAL)) => {
                // Before 6.11 the number has to do; it is still ours if the process is alive after.
                rustix::fs::stat(format!("/proc/{}/ns/pid", self.pid))?
            }
            Err(error) => return Err(error),
        };
        if !self.is_alive()? {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        Ok(PidNamespace {
            device: status.st_dev,
            inode: status.st_ino,
        })
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl From<PidFd> for OwnedFd {
    fn from(pidfd: PidFd) -> Self {
        pidfd.descriptor
    }
}

fn ended(status: &rustix::process::WaitIdStatus) -> Ended {
    match status.exit_status() {
        Some(code) => Ended::Exited(code),
        None => Ended::Signaled(status.terminating_signal().unwrap_or(0)),
    }
}
