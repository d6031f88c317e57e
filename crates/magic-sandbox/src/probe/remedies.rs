//! The sentences that say what to type.

use std::fs;
use std::path::Path;

use crate::protocol::{JailFailure, Step};

/// What to do when no control group may be divided.
pub(crate) fn control_groups() -> String {
    if in_container() {
        return "This container may not write its own control group, on cgroup version 2: give it a writable \
                one (Docker 28: `--security-opt writable-cgroups=true`; podman: `--security-opt \
                unmask=/sys/fs/cgroup`; containerd 2.1: `cgroup_writable = true` in a runtime class), or let \
                the policy say `cgroup_limits: best_effort` under `layers`."
            .to_owned();
    }
    let user = rustix::process::geteuid();
    let own_manager = format!("/run/user/{}/systemd/private", user.as_raw());
    let line = if user.is_root() {
        "systemd-run --scope -p Delegate=yes COMMAND".to_owned()
    } else if Path::new(&own_manager).exists() {
        "systemd-run --user --scope -p Delegate=yes COMMAND".to_owned()
    } else {
        // Without a manager of one's own, root has to ask the system's.
        format!(
            "sudo systemd-run --pty --same-dir --uid={} -p Delegate=yes COMMAND",
            user.as_raw()
        )
    };
    format!(
        "Start the program in a unit with a delegated subtree: type `{line}`, or write `Delegate=cpu \
         memory pids` in the service's unit file. On a host with version 1 control groups run the \
         service as root."
    )
}

/// Whether an engine says that this is one of its containers: Docker and podman by a file, Kubernetes by a variable.
fn in_container() -> bool {
    ["/.dockerenv", "/run/.containerenv"]
        .iter()
        .any(|file| Path::new(file).exists())
        || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

/// What to do about user namespaces that this host refuses.
pub(crate) fn user_namespaces() -> String {
    let reads = |path: &str, value: &str| {
        fs::read_to_string(path).is_ok_and(|content| content.trim() == value)
    };
    if reads(
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
    ) {
        return "AppArmor restricts user namespaces on this host: install an AppArmor profile for this \
                executable with the line `userns,`, or type `sysctl -w \
                kernel.apparmor_restrict_unprivileged_userns=0`."
            .to_owned();
    }
    if reads("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        return "User namespaces are switched off: type `sysctl -w kernel.unprivileged_userns_clone=1`."
            .to_owned();
    }
    if reads("/proc/sys/user/max_user_namespaces", "0") {
        return "User namespaces are switched off: type `sysctl -w user.max_user_namespaces=15000`."
            .to_owned();
    }
    "Namespaces were refused. In a container, allow clone, unshare and mount in its seccomp profile; \
     in a systemd unit, drop `RestrictNamespaces=` or list `user mnt pid net ipc uts cgroup` there."
        .to_owned()
}

/// What to do about a missing or old Landlock.
pub(crate) fn landlock() -> String {
    "Landlock is missing or older than ABI 6: boot Linux 6.12 or newer with `lsm=landlock,...` on the \
     kernel's command line, or let the policy say `landlock: best_effort` under `layers`."
        .to_owned()
}

/// What to do about a missing system call filter.
pub(crate) fn seccomp() -> String {
    "The kernel needs CONFIG_SECCOMP_FILTER, and an outer filter must allow seccomp(2).".to_owned()
}

/// What to do when a step of the jail failed.
pub(crate) fn for_step(failure: &JailFailure) -> Option<String> {
    let denied = matches!(failure.errno, Some(libc::EPERM | libc::EACCES));
    let missing = matches!(failure.errno, Some(libc::ENOENT | libc::ENOTDIR));
    match failure.step {
        Step::JoinGroup => Some(control_groups()),
        Step::Namespaces if failure.errno == Some(libc::ENOSPC) => Some(
            "The limit of namespaces is reached: raise the numbers under /proc/sys/user/ with \
             `sysctl -w user.max_user_namespaces=15000` and so on."
                .to_owned(),
        ),
        Step::Namespaces | Step::IdMaps => Some(user_namespaces()),
        Step::Root | Step::OpenSources if missing => Some(
            "A path of the plan is not there: check the sources of the binds and their targets."
                .to_owned(),
        ),
        Step::OpenSources if failure.errno == Some(libc::EINVAL) => Some(
            "Another mount lies below this source, and an ordinary user cannot leave it out: list the \
             directories of the source singly, or run the service as root."
                .to_owned(),
        ),
        Step::HostName if denied => Some(
            "An outer filter forbids sethostname(2), which hides the host's name: in a systemd unit, drop \
             `ProtectHostname=` and add `sethostname` to `SystemCallFilter=`; in a container, allow it in \
             the seccomp profile."
                .to_owned(),
        ),
        Step::Identity | Step::Root if denied => Some(user_namespaces()),
        Step::Landlock if missing => Some(
            "A path of the plan is not in the root: check the program, its loader and the targets of \
             the binds."
                .to_owned(),
        ),
        Step::Landlock => Some(landlock()),
        Step::Seccomp => Some(seccomp()),
        Step::Execute => Some(
            "The program could not be started inside the root: check that it, its ELF loader and \
             everything on the way to them are among the binds and readable by the identity."
                .to_owned(),
        ),
        _ => None,
    }
}
