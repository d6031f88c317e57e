//! The version query of Landlock, which the landlock crate keeps to itself.

use std::io;

use super::checked;

/// `LANDLOCK_CREATE_RULESET_VERSION` of `linux/landlock.h`.
const VERSION_QUERY: libc::c_ulong = 1;

/// The ABI version of the running kernel. `ENOSYS`: not built in. `EOPNOTSUPP`: not enabled at boot.
pub(crate) fn abi_version() -> io::Result<i64> {
    // SAFETY: with this flag the kernel wants a null pointer and a size of zero, and reads no memory.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<libc::c_void>(),
            0_usize,
            VERSION_QUERY,
        )
    };
    checked(answer)
}
