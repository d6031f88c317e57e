//! The `ioctl` calls of process descriptors.
//!
//! Source of the numbers and of the structure: `include/uapi/linux/pidfd.h` of Linux 6.15, which the
//! libc crate does not carry yet. The size of a structure is part of an `ioctl` number, and the kernel
//! accepts every published size of this one.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use super::checked;

const PIDFD_INFO_EXIT: u64 = 1 << 3;
/// `_IOWR(0xFF, 11, struct pidfd_info)` with the 64 bytes of the first published size.
const PIDFD_GET_INFO: libc::c_ulong = 0xC040_FF0B;
/// `_IO(0xFF, 5)`.
const PIDFD_GET_PID_NAMESPACE: libc::c_ulong = 0xFF05;

#[repr(C)]
#[derive(Default)]
struct Information {
    mask: u64,
    cgroup_id: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    real_uid: u32,
    real_gid: u32,
    effective_uid: u32,
    effective_gid: u32,
    saved_uid: u32,
    saved_gid: u32,
    file_system_uid: u32,
    file_system_gid: u32,
    exit_code: i32,
}

/// The wait status of a process that has ended and was reaped by whoever its parent is.
///
/// `None` while the process still runs or waits to be reaped. `ENOTTY` and `EINVAL` mean that the
/// kernel has no such call; kernels 6.13 and 6.14 have the call without this answer, and give `ESRCH`.
pub(crate) fn exit_status(pidfd: impl AsFd) -> io::Result<Option<i32>> {
    let mut information = Information {
        mask: PIDFD_INFO_EXIT,
        ..Information::default()
    };
    // SAFETY: the number encodes the size of `Information` (64 bytes, asserted below), which is
    // writable and outlives the call.
    let answer = unsafe {
        libc::ioctl(
            pidfd.as_fd().as_raw_fd(),
            PIDFD_GET_INFO,
            &raw mut information,
        )
    };
    checked(answer.into())?;
    Ok((information.mask & PIDFD_INFO_EXIT != 0).then_some(information.exit_code))
}

const _: () = assert!(size_of::<Information>() == 64, "first published size");

/// A descriptor of the pid namespace that the process lives in (Linux 6.11).
pub(crate) fn pid_namespace(pidfd: impl AsFd) -> io::Result<OwnedFd> {
    // SAFETY: this request takes no pointer and returns a fresh descriptor.
    let answer = unsafe { libc::ioctl(pidfd.as_fd().as_raw_fd(), PIDFD_GET_PID_NAMESPACE, 0) };
    checked(answer.into())?;
    // SAFETY: the kernel just made this descriptor for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(answer) })
}
