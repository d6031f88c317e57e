//! Descriptors in the event loop.
//!
//! Registering one is only sound if the value keeps its descriptor open and
//! unchanged for as long as it is registered. The function below takes values
//! for which that is plain to see, which is why the older, safe constructor is
//! right here; the newer one asks the same of its caller in unsafe code.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A value that owns its one descriptor and never changes it.
#[derive(Debug)]
pub(crate) struct Watched<T>(pub(crate) T);

impl<T: AsFd> AsRawFd for Watched<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Owns one descriptor for life.
pub(crate) trait Owner: AsFd {}
impl Owner for OwnedFd {}
impl Owner for magic_sandbox::PidFd {}

/// Registers `owner` with the event loop of the current task.
pub(crate) fn watch<T: Owner>(owner: T, interest: Interest) -> io::Result<AsyncFd<Watched<T>>> {
    #[expect(
        deprecated,
        reason = "the module header says why this constructor is sound here"
    )]
    AsyncFd::with_interest(Watched(owner), interest)
}
