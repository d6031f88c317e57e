//! Whom the program is, on the host and inside.
//!
//! A privileged supervisor gives every program an unprivileged host identity of its own; host uid 0 is
//! never mapped, so that not even a kernel bug that ignores the namespace finds root behind it. An
//! ordinary user can only map itself.

use std::io;

use rustix::fs::{Gid, Uid};
use rustix::process::{getegid, geteuid};

use crate::plan::{INSIDE_GID, INSIDE_UID, Identity, Plan};
use crate::protocol::{JailFailure, Step};

/// Refuses identities that must not be, and gives up the supervisor's supplementary groups.
pub(super) fn check(plan: &Plan) -> Result<(), JailFailure> {
    let root = geteuid().is_root();
    match plan.identity {
        Identity::Own if root => Err(JailFailure::refused(
            Step::Identity,
            "a supervisor that is root must map an unprivileged host identity",
        )),
        Identity::Own => Ok(()),
        Identity::Mapped { host_uid, host_gid } if host_uid == 0 || host_gid == 0 => {
            Err(JailFailure::refused(
                Step::Identity,
                "host uid 0 and gid 0 are never given to a program",
            ))
        }
        Identity::Mapped { .. } if !root => Err(JailFailure::refused(
            Step::Identity,
            "only a supervisor that is root can map another host identity",
        )),
        Identity::Mapped { .. } => rustix::thread::set_thread_groups(&[]).map_err(|error| {
            JailFailure::new(Step::Identity, "drop supplementary groups", &error.into())
        }),
    }
}

/// Maps the inside identity to the host's, for the process with number `pid`, from outside.
pub(super) fn write_maps(pid: i32, plan: &Plan) -> Result<(), JailFailure> {
    let (host_uid, host_gid) = match plan.identity {
        Identity::Mapped { host_uid, host_gid } => (host_uid, host_gid),
        Identity::Own => (geteuid().as_raw(), getegid().as_raw()),
    };
    let write = |file: &str, content: String| {
        std::fs::write(format!("/proc/{pid}/{file}"), content)
            .map_err(|error| JailFailure::new(Step::IdMaps, format!("write {file}"), &error))
    };
    // An ordinary user may map its group only after setgroups is denied (user_namespaces(7)); for
    // root the denial costs nothing and closes the call inside as well.
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("{INSIDE_UID} {host_uid} 1\n"))?;
    write("gid_map", format!("{INSIDE_GID} {host_gid} 1\n"))
}

/// Takes the inside identity. Done before the root is built, since a file system of this namespace
/// refuses to make files for an identity that is not mapped.
pub(super) fn take_inside() -> Result<(), JailFailure> {
    take(Uid::from_raw(INSIDE_UID), Gid::from_raw(INSIDE_GID))
}

/// Takes the host identity itself, when there is no user namespace to map it.
pub(super) fn take_host(plan: &Plan, keep_capabilities: bool) -> Result<(), JailFailure> {
    let Identity::Mapped { host_uid, host_gid } = plan.identity else {
        return Ok(());
    };
    if keep_capabilities {
        let failed = |error: rustix::io::Errno| {
            JailFailure::new(Step::Identity, "keep capabilities", &io::Error::from(error))
        };
        rustix::thread::set_keep_capabilities(true).map_err(failed)?;
    }
    take(Uid::from_raw(host_uid), Gid::from_raw(host_gid))
}

fn take(uid: Uid, gid: Gid) -> Result<(), JailFailure> {
    let failed = |error: rustix::io::Errno| {
        JailFailure::new(Step::Identity, "take the identity", &io::Error::from(error))
    };
    // Raw calls for this one thread; there is no other.
    rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(failed)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(failed)
}
