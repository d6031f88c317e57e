//! Calls that exist and are refused, with the reason that covers the group.
//!
//! Three degrees. `KILLED` ends the process: these have no use but an attack, so there is nothing to
//! fall back to, and the supervisor records the death. `DENIED` answers "not permitted", since
//! libraries try such calls and cope. `UNANSWERED` is left out of every table and so answers "no such
//! call", because C libraries then fall back to an older call that the filter can judge.

use super::Refused;

pub(super) const KILLED: &[Refused] = &[
    Refused {
        reason: "Only code that already runs as the kernel's administrator loads modules; a program that tries is under hostile control.",
        calls: &[
            ("init_module", libc::SYS_init_module),
            ("finit_module", libc::SYS_finit_module),
            ("delete_module", libc::SYS_delete_module),
        ],
    },
    Refused {
        reason: "Replacing the running kernel has no innocent use.",
        calls: &[
            ("kexec_load", libc::SYS_kexec_load),
            ("kexec_file_load", libc::SYS_kexec_file_load),
            ("reboot", libc::SYS_reboot),
        ],
    },
    Refused {
        reason: "Loading programs into the kernel has no innocent use here, and its verifier has been the way in before.",
        calls: &[("bpf", libc::SYS_bpf)],
    },
    Refused {
        reason: "Page faults handled in user space are how kernel races are won.",
        calls: &[("userfaultfd", libc::SYS_userfaultfd)],
    },
    Refused {
        reason: "Writing into another process's memory has no innocent use here.",
        calls: &[("process_vm_writev", libc::SYS_process_vm_writev)],
    },
    Refused {
        reason: "Swap space is the host's.",
        calls: &[("swapon", libc::SYS_swapon), ("swapoff", libc::SYS_swapoff)],
    },
];

pub(super) const DENIED: &[Refused] = &[
    Refused {
        reason: "Sockets come from the supervisor or are connected pairs; no family may be made.",
        calls: &[("socket", libc::SYS_socket)],
    },
    Refused {
        reason: "A socket of a pair needs no name, and none may be reached by name.",
        calls: &[
            ("bind", libc::SYS_bind),
            ("connect", libc::SYS_connect),
            ("listen", libc::SYS_listen),
            ("accept", libc::SYS_accept),
            ("accept4", libc::SYS_accept4),
        ],
    },
    Refused {
        reason: "Several messages at once are for datagrams, which no socket here sends; Python makes neither call.",
        calls: &[
            ("sendmmsg", libc::SYS_sendmmsg),
            ("recvmmsg", libc::SYS_recvmmsg),
        ],
    },
    Refused {
        reason: "Nothing may be executed after the program's start.",
        calls: &[("execveat", libc::SYS_execveat)],
    },
    Refused {
        reason: "Signals to others: siblings of one template share a user id and a pid namespace.",
        calls: &[
            ("kill", libc::SYS_kill),
            ("tkill", libc::SYS_tkill),
            ("tgkill", libc::SYS_tgkill),
            ("rt_sigqueueinfo", libc::SYS_rt_sigqueueinfo),
            ("rt_tgsigqueueinfo", libc::SYS_rt_tgsigqueueinfo),
        ],
    },
    Refused {
        reason: "Handles on other processes.",
        calls: &[
            ("pidfd_open", libc::SYS_pidfd_open),
            ("pidfd_getfd", libc::SYS_pidfd_getfd),
            ("pidfd_send_signal", libc::SYS_pidfd_send_signal),
            ("process_madvise", libc::SYS_process_madvise),
            ("process_mrelease", libc::SYS_process_mrelease),
        ],
    },
    Refused {
        reason: "Looking into or steering other processes.",
        calls: &[
            ("ptrace", libc::SYS_ptrace),
            ("process_vm_readv", libc::SYS_process_vm_readv),
            ("kcmp", libc::SYS_kcmp),
        ],
    },
    Refused {
        reason: "It names its process behind a pointer, and so tells which siblings exist.",
        calls: &[("capget", libc::SYS_capget)],
    },
    Refused {
        reason: "A lock on a file that others have open too is a message to them.",
        calls: &[("flock", libc::SYS_flock)],
    },
    Refused {
        reason: "Priorities and placement of others, and of oneself against others.",
        calls: &[
            ("sched_setaffinity", libc::SYS_sched_setaffinity),
            ("sched_setattr", libc::SYS_sched_setattr),
            ("sched_setparam", libc::SYS_sched_setparam),
            ("sched_setscheduler", libc::SYS_sched_setscheduler),
            ("setpriority", libc::SYS_setpriority),
            ("ioprio_set", libc::SYS_ioprio_set),
        ],
    },
    Refused {
        reason: "Scheduling details of others.",
        calls: &[
            ("sched_getattr", libc::SYS_sched_getattr),
            ("sched_rr_get_interval", libc::SYS_sched_rr_get_interval),
            ("ioprio_get", libc::SYS_ioprio_get),
        ],
    },
    Refused {
        reason: "System V objects outlive the process that made them.",
        calls: &[
            ("shmget", libc::SYS_shmget),
            ("shmat", libc::SYS_shmat),
            ("shmctl", libc::SYS_shmctl),
            ("shmdt", libc::SYS_shmdt),
            ("semget", libc::SYS_semget),
            ("semop", libc::SYS_semop),
            ("semtimedop", libc::SYS_semtimedop),
            ("semctl", libc::SYS_semctl),
            ("msgget", libc::SYS_msgget),
            ("msgsnd", libc::SYS_msgsnd),
            ("msgrcv", libc::SYS_msgrcv),
            ("msgctl", libc::SYS_msgctl),
        ],
    },
    Refused {
        reason: "Message queues outlive the process that made them.",
        calls: &[
            ("mq_open", libc::SYS_mq_open),
            ("mq_unlink", libc::SYS_mq_unlink),
            ("mq_timedsend", libc::SYS_mq_timedsend),
            ("mq_timedreceive", libc::SYS_mq_timedreceive),
            ("mq_notify", libc::SYS_mq_notify),
            ("mq_getsetattr", libc::SYS_mq_getsetattr),
        ],
    },
    Refused {
        reason: "Memory as a file could be executed or handed on, and is not counted as the program's own pages.",
        calls: &[
            ("memfd_create", libc::SYS_memfd_create),
            ("memfd_secret", libc::SYS_memfd_secret),
        ],
    },
    Refused {
        reason: "Namespaces are the sandbox's own walls.",
        calls: &[("unshare", libc::SYS_unshare), ("setns", libc::SYS_setns)],
    },
    Refused {
        reason: "The file system tree is fixed.",
        calls: &[
            ("mount", libc::SYS_mount),
            ("umount2", libc::SYS_umount2),
            ("pivot_root", libc::SYS_pivot_root),
            ("chroot", libc::SYS_chroot),
            ("fsopen", libc::SYS_fsopen),
            ("fsconfig", libc::SYS_fsconfig),
            ("fsmount", libc::SYS_fsmount),
            ("fspick", libc::SYS_fspick),
            ("open_tree", libc::SYS_open_tree),
            ("move_mount", libc::SYS_move_mount),
            ("mount_setattr", libc::SYS_mount_setattr),
        ],
    },
    Refused {
        reason: "Handles reach files past the tree.",
        calls: &[
            ("name_to_handle_at", libc::SYS_name_to_handle_at),
            ("open_by_handle_at", libc::SYS_open_by_handle_at),
        ],
    },
    Refused {
        reason: "No library needs the resolving form, and each of its flags is one more thing to review.",
        calls: &[("openat2", libc::SYS_openat2)],
    },
    Refused {
        reason: "Devices, pipes with names and sockets in a directory.",
        calls: &[("mknodat", libc::SYS_mknodat)],
    },
    Refused {
        reason: "Links are how a path of one owner comes to mean a file of another.",
        calls: &[
            ("linkat", libc::SYS_linkat),
            ("symlinkat", libc::SYS_symlinkat),
        ],
    },
    Refused {
        reason: "Exchanging and whiting out.",
        calls: &[("renameat2", libc::SYS_renameat2)],
    },
    Refused {
        reason: "Ownership is fixed.",
        calls: &[
            ("fchown", libc::SYS_fchown),
            ("fchownat", libc::SYS_fchownat),
        ],
    },
    Refused {
        reason: "Extended attributes carry capabilities and labels.",
        calls: &[
            ("setxattr", libc::SYS_setxattr),
            ("lsetxattr", libc::SYS_lsetxattr),
            ("fsetxattr", libc::SYS_fsetxattr),
            ("removexattr", libc::SYS_removexattr),
            ("lremovexattr", libc::SYS_lremovexattr),
            ("fremovexattr", libc::SYS_fremovexattr),
        ],
    },
    Refused {
        reason: "Extended attributes of the host's files are nobody's business.",
        calls: &[
            ("getxattr", libc::SYS_getxattr),
            ("lgetxattr", libc::SYS_lgetxattr),
            ("fgetxattr", libc::SYS_fgetxattr),
            ("listxattr", libc::SYS_listxattr),
            ("llistxattr", libc::SYS_llistxattr),
            ("flistxattr", libc::SYS_flistxattr),
        ],
    },
    Refused {
        reason: "Asynchronous rings reach around the filter.",
        calls: &[
            ("io_uring_setup", libc::SYS_io_uring_setup),
            ("io_uring_enter", libc::SYS_io_uring_enter),
            ("io_uring_register", libc::SYS_io_uring_register),
        ],
    },
    Refused {
        reason: "The older asynchronous interface has no user here.",
        calls: &[
            ("io_setup", libc::SYS_io_setup),
            ("io_submit", libc::SYS_io_submit),
            ("io_getevents", libc::SYS_io_getevents),
            ("io_cancel", libc::SYS_io_cancel),
            ("io_destroy", libc::SYS_io_destroy),
        ],
    },
    Refused {
        reason: "Counters of the processor see other processes.",
        calls: &[("perf_event_open", libc::SYS_perf_event_open)],
    },
    Refused {
        reason: "Keys belong to a user id and outlive a process.",
        calls: &[
            ("keyctl", libc::SYS_keyctl),
            ("add_key", libc::SYS_add_key),
            ("request_key", libc::SYS_request_key),
        ],
    },
    Refused {
        reason: "Identities are fixed.",
        calls: &[
            ("setuid", libc::SYS_setuid),
            ("setgid", libc::SYS_setgid),
            ("setreuid", libc::SYS_setreuid),
            ("setregid", libc::SYS_setregid),
            ("setresuid", libc::SYS_setresuid),
            ("setresgid", libc::SYS_setresgid),
            ("setfsuid", libc::SYS_setfsuid),
            ("setfsgid", libc::SYS_setfsgid),
            ("setgroups", libc::SYS_setgroups),
            ("capset", libc::SYS_capset),
        ],
    },
    Refused {
        reason: "The session stays the one that the jail made.",
        calls: &[("setsid", libc::SYS_setsid), ("setpgid", libc::SYS_setpgid)],
    },
    Refused {
        reason: "Host names are the namespace's and fixed.",
        calls: &[
            ("sethostname", libc::SYS_sethostname),
            ("setdomainname", libc::SYS_setdomainname),
        ],
    },
    Refused {
        reason: "The clock is the host's.",
        calls: &[
            ("clock_settime", libc::SYS_clock_settime),
            ("settimeofday", libc::SYS_settimeofday),
            ("adjtimex", libc::SYS_adjtimex),
            ("clock_adjtime", libc::SYS_clock_adjtime),
        ],
    },
    Refused {
        reason: "Accounting, quotas and logs are the host's.",
        calls: &[
            ("acct", libc::SYS_acct),
            ("quotactl", libc::SYS_quotactl),
            ("quotactl_fd", libc::SYS_quotactl_fd),
            ("syslog", libc::SYS_syslog),
            ("lookup_dcookie", libc::SYS_lookup_dcookie),
            ("nfsservctl", libc::SYS_nfsservctl),
            ("vhangup", libc::SYS_vhangup),
        ],
    },
    Refused {
        reason: "Flushing every file system is a load on the host.",
        calls: &[("sync", libc::SYS_sync), ("syncfs", libc::SYS_syncfs)],
    },
    Refused {
        reason: "Reading ahead fills the host's cache for others.",
        calls: &[("readahead", libc::SYS_readahead)],
    },
    Refused {
        reason: "Which pages are cached tells about other processes.",
        calls: &[
            ("mincore", libc::SYS_mincore),
            // The libc crate does not name it everywhere; new calls have one number on every architecture.
            ("cachestat", 451),
        ],
    },
    Refused {
        reason: "Moving pages between pipes has been a way to write read-only files.",
        calls: &[
            ("splice", libc::SYS_splice),
            ("tee", libc::SYS_tee),
            ("vmsplice", libc::SYS_vmsplice),
        ],
    },
    Refused {
        reason: "Pages of other processes, or of the whole machine.",
        calls: &[
            ("move_pages", libc::SYS_move_pages),
            ("migrate_pages", libc::SYS_migrate_pages),
        ],
    },
    Refused {
        reason: "Old page tricks without a user.",
        calls: &[("remap_file_pages", libc::SYS_remap_file_pages)],
    },
    Refused {
        reason: "Locking all memory.",
        calls: &[
            ("mlockall", libc::SYS_mlockall),
            ("munlockall", libc::SYS_munlockall),
            ("mlock2", libc::SYS_mlock2),
            ("set_mempolicy_home_node", libc::SYS_set_mempolicy_home_node),
        ],
    },
    Refused {
        reason: "Protection keys have no user here.",
        calls: &[
            ("pkey_alloc", libc::SYS_pkey_alloc),
            ("pkey_free", libc::SYS_pkey_free),
            ("pkey_mprotect", libc::SYS_pkey_mprotect),
        ],
    },
    Refused {
        reason: "Watching files tells what others do.",
        calls: &[
            ("inotify_init1", libc::SYS_inotify_init1),
            ("inotify_add_watch", libc::SYS_inotify_add_watch),
            ("inotify_rm_watch", libc::SYS_inotify_rm_watch),
            ("fanotify_init", libc::SYS_fanotify_init),
            ("fanotify_mark", libc::SYS_fanotify_mark),
        ],
    },
    Refused {
        reason: "Signals as descriptors have no user here.",
        calls: &[("signalfd4", libc::SYS_signalfd4)],
    },
    Refused {
        reason: "Timers that send signals of choice have no user here.",
        calls: &[
            ("timer_create", libc::SYS_timer_create),
            ("timer_settime", libc::SYS_timer_settime),
            ("timer_gettime", libc::SYS_timer_gettime),
            ("timer_getoverrun", libc::SYS_timer_getoverrun),
            ("timer_delete", libc::SYS_timer_delete),
        ],
    },
];

/// Known calls that must look unknown.
#[cfg(test)]
pub(super) const UNANSWERED: &[(&str, libc::c_long, &str)] = &[
    (
        "clone3",
        libc::SYS_clone3,
        "Its flags lie behind a pointer, where a filter cannot look; C libraries fall back to clone.",
    ),
    (
        "futex_waitv",
        libc::SYS_futex_waitv,
        "No C library needs it, and its arguments lie behind pointers.",
    ),
];
