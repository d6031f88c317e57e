//! Calls that exist on x86_64 and not on newer architectures: older forms of calls of the other tables.

use super::{Allowed, Refused, call};

pub(super) const ALLOWED: &[Allowed] = &[
    call(
        "access",
        libc::SYS_access,
        "os.access in older C libraries.",
    ),
    call(
        "alarm",
        libc::SYS_alarm,
        "signal.alarm, for this process only.",
    ),
    call(
        "arch_prctl",
        libc::SYS_arch_prctl,
        "The loader sets the thread pointer.",
    ),
    call(
        "chmod",
        libc::SYS_chmod,
        "tempfile and shutil, in a lent temporary directory.",
    ),
    call("dup2", libc::SYS_dup2, "Python answers os.dup2 by it."),
    call(
        "epoll_create",
        libc::SYS_epoll_create,
        "The older form of epoll_create1, which some C libraries still use.",
    ),
    call(
        "epoll_wait",
        libc::SYS_epoll_wait,
        "asyncio's default loop waits.",
    ),
    call(
        "eventfd",
        libc::SYS_eventfd,
        "The older form of eventfd2, which some C libraries still use.",
    ),
    call(
        "fchmodat2",
        libc::SYS_fchmodat2,
        "Newer C libraries change permission bits without following links.",
    ),
    call(
        "fork",
        libc::SYS_fork,
        "Older C libraries make os.fork of it.",
    ),
    call(
        "getdents",
        libc::SYS_getdents,
        "The older form of getdents64, which some C libraries still use.",
    ),
    call(
        "getpgrp",
        libc::SYS_getpgrp,
        "Python answers os.getpgrp by it.",
    ),
    call(
        "lstat",
        libc::SYS_lstat,
        "The older form of newfstatat, which some C libraries still use.",
    ),
    call(
        "mkdir",
        libc::SYS_mkdir,
        "Directories in a lent temporary directory.",
    ),
    call(
        "open",
        libc::SYS_open,
        "The older form of openat, which some C libraries still use.",
    ),
    call(
        "pause",
        libc::SYS_pause,
        "Python answers signal.pause by it.",
    ),
    call(
        "pipe",
        libc::SYS_pipe,
        "The older form of pipe2, which some C libraries still use.",
    ),
    call("poll", libc::SYS_poll, "select.poll and the runner's loop."),
    call(
        "readlink",
        libc::SYS_readlink,
        "Python answers os.path.realpath by it.",
    ),
    call(
        "rename",
        libc::SYS_rename,
        "os.replace in a lent temporary directory.",
    ),
    call(
        "rmdir",
        libc::SYS_rmdir,
        "shutil.rmtree in a lent temporary directory.",
    ),
    call(
        "select",
        libc::SYS_select,
        "The older form of pselect6, which some C libraries still use.",
    ),
    call(
        "stat",
        libc::SYS_stat,
        "The older form of newfstatat, which some C libraries still use.",
    ),
    call("time", libc::SYS_time, "Older libraries ask for the time."),
    call(
        "unlink",
        libc::SYS_unlink,
        "Files in a lent temporary directory are removed.",
    ),
    call(
        "utime",
        libc::SYS_utime,
        "The older form of utimensat, which some C libraries still use.",
    ),
    call(
        "utimes",
        libc::SYS_utimes,
        "The older form of utimensat, which some C libraries still use.",
    ),
    call(
        "vfork",
        libc::SYS_vfork,
        "subprocess makes a child that then may not execute; it reports that properly.",
    ),
];

pub(super) const DENIED: &[Refused] = &[
    Refused {
        reason: "The older asynchronous interface has no user here; libc does not name this call.",
        calls: &[("io_pgetevents", 333)],
    },
    Refused {
        reason: "Ports and descriptor tables of the processor.",
        calls: &[
            ("ioperm", libc::SYS_ioperm),
            ("iopl", libc::SYS_iopl),
            ("modify_ldt", libc::SYS_modify_ldt),
            ("set_thread_area", libc::SYS_set_thread_area),
            ("get_thread_area", libc::SYS_get_thread_area),
        ],
    },
    Refused {
        reason: "Devices, pipes with names and sockets in a directory.",
        calls: &[("mknod", libc::SYS_mknod)],
    },
    Refused {
        reason: "Links are how a path of one owner comes to mean a file of another.",
        calls: &[("link", libc::SYS_link), ("symlink", libc::SYS_symlink)],
    },
    Refused {
        reason: "Ownership is fixed.",
        calls: &[("chown", libc::SYS_chown), ("lchown", libc::SYS_lchown)],
    },
    Refused {
        reason: "Older forms of refused calls.",
        calls: &[
            ("inotify_init", libc::SYS_inotify_init),
            ("signalfd", libc::SYS_signalfd),
        ],
    },
    Refused {
        reason: "Relics that only tell about the kernel.",
        calls: &[
            ("sysfs", libc::SYS_sysfs),
            ("ustat", libc::SYS_ustat),
            ("uselib", libc::SYS_uselib),
            ("_sysctl", libc::SYS__sysctl),
        ],
    },
    Refused {
        reason: "Older forms that current C libraries no longer use.",
        calls: &[
            ("creat", libc::SYS_creat),
            ("futimesat", libc::SYS_futimesat),
        ],
    },
];

/// Numbers that the kernel reserves and never implemented, or removed: they stay "no such call". Those that
/// the libc crate no longer names are given by number.
#[cfg(test)]
pub(super) const UNKNOWN: &[(&str, libc::c_long)] = &[
    ("afs_syscall", libc::SYS_afs_syscall),
    ("create_module", 174),
    ("epoll_ctl_old", libc::SYS_epoll_ctl_old),
    ("epoll_wait_old", libc::SYS_epoll_wait_old),
    ("get_kernel_syms", 177),
    ("getpmsg", libc::SYS_getpmsg),
    ("putpmsg", libc::SYS_putpmsg),
    ("query_module", 178),
    ("security", libc::SYS_security),
    ("tuxcall", libc::SYS_tuxcall),
    ("vserver", libc::SYS_vserver),
];
