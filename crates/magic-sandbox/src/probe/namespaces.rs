//! Namespaces, and what may stand in the way of an ordinary user.
//!
//! Whether a namespace is granted can be known for certain only by making one. What is looked at here
//! is what refuses them in practice: a kernel without, a limit of zero, and the switches of distributions.

use super::{has_namespace, remedies};
use crate::layers::Layer;

type Found = (bool, String, Option<String>);

pub(super) fn look(layer: Layer) -> Found {
    let (file, limit) = match layer {
        Layer::User => ("user", "max_user_namespaces"),
        Layer::Pid => ("pid", "max_pid_namespaces"),
        Layer::Mount => ("mnt", "max_mnt_namespaces"),
        Layer::Network => ("net", "max_net_namespaces"),
        Layer::Ipc => ("ipc", "max_ipc_namespaces"),
        Layer::Uts => ("uts", "max_uts_namespaces"),
        _ => ("cgroup", "max_cgroup_namespaces"),
    };
    let remedy = Some(remedies::user_namespaces());
    if !has_namespace(file) {
        return (
            false,
            format!("this kernel has no {file} namespace"),
            Some("Boot a kernel with CONFIG_NAMESPACES and its parts.".to_owned()),
        );
    }
    if read(&format!("/proc/sys/user/{limit}")).as_deref() == Some("0") {
        return (
            false,
            format!("user.{limit} is 0"),
            Some(format!("Type `sysctl -w user.{limit}=15000`.")),
        );
    }
    // Root needs no user namespace to make the others; everyone else does.
    if !rustix::process::geteuid().is_root() {
        if read("/proc/sys/kernel/unprivileged_userns_clone").as_deref() == Some("0") {
            return (
                false,
                "unprivileged user namespaces are off".to_owned(),
                remedy,
            );
        }
        if read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").as_deref() == Some("1") {
            return (
                false,
                "AppArmor restricts unprivileged user namespaces".to_owned(),
                remedy,
            );
        }
    }
    (true, "the kernel grants it".to_owned(), remedy)
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path)
        .ok()
        .map(|content| content.trim().to_owned())
}
