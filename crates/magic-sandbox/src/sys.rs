//! Every `unsafe` block of the project, one file per kernel mechanism.
//!
//! Each function here is safe to call with any arguments: what a call needs beyond its types is
//! checked or arranged inside. Where nix or rustix offer a safe wrapper, that wrapper is used in the
//! rest of the crate and nothing is repeated here.

#![allow(unsafe_code)]

pub(crate) mod clone;
pub(crate) mod credentials;
pub(crate) mod descriptors;
pub(crate) mod filter;
pub(crate) mod identity;
pub(crate) mod landlock;
pub(crate) mod mount;
pub(crate) mod pidfd;
pub(crate) mod random;
pub(crate) mod sealed_exec;
pub(crate) mod signals;

use std::io;

/// Turns the answer of a system call into a result, so that no call site compares with -1.
fn checked(answer: libc::c_long) -> io::Result<libc::c_long> {
    if answer == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(answer)
    }
}
