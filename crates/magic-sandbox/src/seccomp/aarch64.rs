//! Calls that exist on aarch64 and not on x86_64.

use super::{Allowed, Refused, call};

pub(super) const ALLOWED: &[Allowed] = &[call(
    "sync_file_range2",
    libc::SYS_sync_file_range2,
    "This architecture's form of sync_file_range.",
)];

pub(super) const DENIED: &[Refused] = &[Refused {
    reason: "The older asynchronous interface has no user here; libc does not name this call.",
    calls: &[("io_pgetevents", 292)],
}];

/// Numbers that the kernel reserves and never implemented, or removed.
#[cfg(test)]
pub(super) const UNKNOWN: &[(&str, libc::c_long)] = &[];
