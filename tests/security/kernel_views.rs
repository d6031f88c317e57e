//! Class C: what the kernel shows of itself. There is no /proc and no /sys, and two devices.

use crate::probe::{Probe, Suite};
use serde_json::json;

#[test]
fn proc_sys_and_devices_are_not_there() {
    let suite = Suite::start("kernel_views");
    let mut probes: Vec<Probe> = [
        "/proc",
        "/proc/self",
        "/proc/self/mem",
        "/proc/self/maps",
        "/proc/self/fd/3",
        "/proc/self/exe",
        "/proc/self/mountinfo",
        "/proc/self/ns/user",
        "/proc/thread-self",
        "/proc/1/environ",
        "/proc/1/root",
        "/proc/sys/kernel/core_pattern",
        "/proc/kallsyms",
        "/proc/net/tcp",
        "/proc/meminfo",
        "/proc/stat",
        "/proc/cpuinfo",
        "/sys",
        "/sys/kernel",
        "/sys/fs/cgroup",
        "/sys/class/net",
        "/dev/tty",
        "/dev/ptmx",
        "/dev/pts",
        "/dev/shm",
        "/dev/zero",
        "/dev/full",
        "/dev/random",
        "/dev/fd",
        "/dev/stdin",
    ]
    .into_iter()
    .map(|path| Probe::refused("look", json!({"path": path}), &["ENOENT"]))
    .collect();
    let ask = |request: u32| json!({"number": libc::SYS_ioctl, "request": request});
    probes.extend([
        Probe::refused("open_control_group", json!({}), &["ENOENT"]),
        Probe::refused("open_terminal", json!({}), &["ENOENT"]),
        Probe::refused("type_into_terminal", json!({}), &["ENOENT"]),
        // TIOCSTI, TIOCLINUX, TIOCSCTTY, TIOCSETD, FIONREAD's neighbours that set an owner.
        Probe::refused("ask_descriptor", ask(0x5412), &["EPERM"]),
        Probe::refused("ask_descriptor", ask(0x541c), &["EPERM"]),
        Probe::refused("ask_descriptor", ask(0x540e), &["EPERM"]),
        Probe::refused("ask_descriptor", ask(0x5423), &["EPERM"]),
        Probe::refused("ask_descriptor", ask(0x8901), &["EPERM"]),
        Probe::refused("ask_descriptor", ask(0x5452), &["EPERM"]),
        Probe::refused(
            "kernel_log",
            json!({"number": libc::SYS_syslog}),
            &["EPERM"],
        ),
    ]);
    suite.check(&probes);
}
