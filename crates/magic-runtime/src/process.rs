//! A process of a sandbox as the supervisor's event loop sees it: a descriptor
//! that becomes readable when the process ends, and what the kernel tells then.

use crate::watched::{Watched, watch};
use magic_sandbox::{Ended, PidFd};
use std::io;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A pidfd in the event loop. The process behind it can never be another one.
#[derive(Debug)]
pub(crate) struct Process {
    descriptor: AsyncFd<Watched<PidFd>>,
}

impl Process {
    /// Registers `pidfd` with the event loop of the current task.
    pub(crate) fn new(pidfd: PidFd) -> io::Result<Self> {
        Ok(Self {
            descriptor: watch(pidfd, Interest::READABLE)?,
        })
    }

    /// The pidfd itself.
    pub(crate) fn pidfd(&self) -> &PidFd {
        &self.descriptor.get_ref().0
    }

    /// Waits until the process has ended.
    pub(crate) async fn ended(&self) {
        // The only error is a closed event loop, at which nobody waits any more.
        let _ = self.descriptor.readable().await;
    }

    /// Waits at most `patience` for the end; whether it came.
    pub(crate) async fn ended_within(&self, patience: Duration) -> bool {
        tokio::time::timeout(patience, self.ended()).await.is_ok()
    }

    /// How it ended. A template is our own child and can be asked for as such.
    /// Of others the kernel keeps it behind the pidfd (Linux 6.15), from when
    /// the parent has reaped the process, which may be a moment after the
    /// descriptor became readable.
    pub(crate) async fn exit(&self) -> Option<Ended> {
        if let Ok(Some(ended)) = self.pidfd().peek() {
            return Some(ended);
        }
        for _ in 0..2_000 {
            match self.pidfd().exit_information() {
                Ok(Some(ended)) => return Some(ended),
                Ok(None) => tokio::time::sleep(Duration::from_millis(1)).await,
                Err(_) => return None,
            }
        }
        None
    }

    /// Whether the process still lives; one that cannot be asked is taken as gone.
    pub(crate) fn is_alive(&self) -> bool {
        self.pidfd().is_alive().unwrap_or(false)
    }

    /// Ends the process, if it still lives.
    pub(crate) fn kill(&self) {
        // ESRCH is the wished-for state; nothing else can go wrong with a
        // descriptor of a process in a sandbox of ours.
        let _ = self.pidfd().kill();
    }
}
