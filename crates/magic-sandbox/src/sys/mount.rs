//! `mount_setattr(2)`, which neither nix nor rustix wraps.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use super::checked;

/// Adds mount attributes (`MOUNT_ATTR_*`) to the one mount that `tree` stands for, not to those below.
pub(crate) fn add_attributes(tree: impl AsFd, attributes: u64) -> io::Result<()> {
    let request = libc::mount_attr {
        attr_set: attributes,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path is a static empty string, `request` is a whole `mount_attr` that outlives the
    // call, and its true size is passed beside it.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const request,
            size_of::<libc::mount_attr>(),
        )
    };
    checked(answer).map(drop)
}
