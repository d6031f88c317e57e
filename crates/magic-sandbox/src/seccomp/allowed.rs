//! Calls that a CPython interpreter and its usual extension modules need, on every architecture.
//!
//! Found by tracing a broad workout of the standard library and numpy under 3.11, 3.12 and 3.13, and
//! then argued one by one. A call is here because something named needs it, not because it looks
//! harmless. Some are narrowed by their arguments, see `arguments.rs`.

use super::{Allowed, call};

pub(super) const ALLOWED: &[Allowed] = &[
    call(
        "read",
        libc::SYS_read,
        "The runner reads its channel, and Python reads its modules.",
    ),
    call(
        "write",
        libc::SYS_write,
        "Answers go to the channel, text to standard output and error.",
    ),
    call(
        "readv",
        libc::SYS_readv,
        "C libraries read into several buffers at once.",
    ),
    call(
        "writev",
        libc::SYS_writev,
        "C libraries write several buffers at once.",
    ),
    call(
        "pread64",
        libc::SYS_pread64,
        "The loader reads headers, and SQLite reads pages.",
    ),
    call(
        "pwrite64",
        libc::SYS_pwrite64,
        "SQLite writes pages of a file in a lent temporary directory.",
    ),
    call(
        "preadv",
        libc::SYS_preadv,
        "os.preadv reads into several buffers.",
    ),
    call(
        "pwritev",
        libc::SYS_pwritev,
        "os.pwritev writes several buffers.",
    ),
    call(
        "preadv2",
        libc::SYS_preadv2,
        "glibc uses it for preadv with flags.",
    ),
    call(
        "pwritev2",
        libc::SYS_pwritev2,
        "glibc uses it for pwritev with flags.",
    ),
    call(
        "close",
        libc::SYS_close,
        "Every descriptor is closed some day.",
    ),
    call(
        "close_range",
        libc::SYS_close_range,
        "os.closerange and the runner's own clean-up close many at once.",
    ),
    call(
        "dup",
        libc::SYS_dup,
        "os.dup and io keep a second number for a file.",
    ),
    call(
        "dup3",
        libc::SYS_dup3,
        "os.dup2 with inheritable=False, and the runner's descriptor table.",
    ),
    call(
        "fcntl",
        libc::SYS_fcntl,
        "Flags of descriptors; the dangerous commands are refused by argument.",
    ),
    call(
        "ioctl",
        libc::SYS_ioctl,
        "isatty and non-blocking mode; all other requests are refused by argument.",
    ),
    call("lseek", libc::SYS_lseek, "Files are positioned."),
    call(
        "openat",
        libc::SYS_openat,
        "Modules and data are opened; the root and Landlock decide which.",
    ),
    call(
        "newfstatat",
        libc::SYS_newfstatat,
        "The import system looks at files.",
    ),
    call(
        "statx",
        libc::SYS_statx,
        "Newer C libraries look at files by it.",
    ),
    call("fstat", libc::SYS_fstat, "Open files are looked at."),
    call(
        "statfs",
        libc::SYS_statfs,
        "os.statvfs; SQLite asks for the kind of file system.",
    ),
    call(
        "fstatfs",
        libc::SYS_fstatfs,
        "Python answers os.fstatvfs by it.",
    ),
    call(
        "faccessat",
        libc::SYS_faccessat,
        "Python answers os.access by it.",
    ),
    call(
        "faccessat2",
        libc::SYS_faccessat2,
        "Newer C libraries answer os.access by it.",
    ),
    call(
        "readlinkat",
        libc::SYS_readlinkat,
        "os.path.realpath walks links.",
    ),
    call(
        "getdents64",
        libc::SYS_getdents64,
        "The import system lists directories.",
    ),
    call(
        "getcwd",
        libc::SYS_getcwd,
        "os.getcwd; the import system asks for it.",
    ),
    call(
        "chdir",
        libc::SYS_chdir,
        "os.chdir changes only this process; the root decides what is there.",
    ),
    call("fchdir", libc::SYS_fchdir, "os.fchdir, as chdir."),
    call(
        "fadvise64",
        libc::SYS_fadvise64,
        "os.posix_fadvise is a hint about this process's own file.",
    ),
    call(
        "sendfile",
        libc::SYS_sendfile,
        "shutil.copyfile copies between open files.",
    ),
    call(
        "copy_file_range",
        libc::SYS_copy_file_range,
        "os.copy_file_range copies between open files.",
    ),
    call(
        "fsync",
        libc::SYS_fsync,
        "SQLite in a lent temporary directory.",
    ),
    call(
        "fdatasync",
        libc::SYS_fdatasync,
        "SQLite in a lent temporary directory.",
    ),
    call(
        "sync_file_range",
        libc::SYS_sync_file_range,
        "SQLite and databases of its kind flush a part of an open file.",
    ),
    call(
        "ftruncate",
        libc::SYS_ftruncate,
        "Files in a lent temporary directory are cut.",
    ),
    call(
        "truncate",
        libc::SYS_truncate,
        "Files in a lent temporary directory are cut by name.",
    ),
    call(
        "fallocate",
        libc::SYS_fallocate,
        "os.posix_fallocate in a lent temporary directory.",
    ),
    call(
        "flock",
        libc::SYS_flock,
        "Python libraries lock files of their own.",
    ),
    call(
        "mkdirat",
        libc::SYS_mkdirat,
        "Directories in a lent temporary directory; elsewhere nothing is writable.",
    ),
    call(
        "unlinkat",
        libc::SYS_unlinkat,
        "Files in a lent temporary directory are removed.",
    ),
    call(
        "renameat",
        libc::SYS_renameat,
        "Files in a lent temporary directory are renamed; exchange needs renameat2.",
    ),
    call(
        "fchmod",
        libc::SYS_fchmod,
        "tempfile sets the bits of its files; set-user-id is inert under nosuid.",
    ),
    call(
        "fchmodat",
        libc::SYS_fchmodat,
        "shutil copies permission bits, as fchmod.",
    ),
    call(
        "utimensat",
        libc::SYS_utimensat,
        "shutil copies time stamps of files in a lent temporary directory.",
    ),
    call(
        "umask",
        libc::SYS_umask,
        "os.umask concerns only this process.",
    ),
    call(
        "pipe2",
        libc::SYS_pipe2,
        "os.pipe for threads and children of this process.",
    ),
    call(
        "eventfd2",
        libc::SYS_eventfd2,
        "os.eventfd wakes threads of this process.",
    ),
    call(
        "timerfd_create",
        libc::SYS_timerfd_create,
        "Timers of this process as descriptors, from Python 3.13 on.",
    ),
    call(
        "timerfd_settime",
        libc::SYS_timerfd_settime,
        "It is used together with timerfd_create.",
    ),
    call(
        "timerfd_gettime",
        libc::SYS_timerfd_gettime,
        "It is used together with timerfd_create.",
    ),
    call(
        "ppoll",
        libc::SYS_ppoll,
        "select.poll on aarch64 and in newer C libraries.",
    ),
    call(
        "pselect6",
        libc::SYS_pselect6,
        "select.select and time.sleep in older Pythons.",
    ),
    call(
        "epoll_create1",
        libc::SYS_epoll_create1,
        "asyncio's default loop makes one.",
    ),
    call(
        "epoll_ctl",
        libc::SYS_epoll_ctl,
        "It is used together with epoll_create1.",
    ),
    call(
        "epoll_pwait",
        libc::SYS_epoll_pwait,
        "It is used together with epoll_create1.",
    ),
    call(
        "epoll_pwait2",
        libc::SYS_epoll_pwait2,
        "It is used together with epoll_create1.",
    ),
    call("futex", libc::SYS_futex, "Locks and conditions of threads."),
    call(
        "nanosleep",
        libc::SYS_nanosleep,
        "time.sleep in older C libraries.",
    ),
    call(
        "clock_nanosleep",
        libc::SYS_clock_nanosleep,
        "Python answers time.sleep by it.",
    ),
    call(
        "restart_syscall",
        libc::SYS_restart_syscall,
        "The kernel itself calls it after a stop.",
    ),
    call(
        "socketpair",
        libc::SYS_socketpair,
        "asyncio's self-pipe; only connected unix pairs, by argument.",
    ),
    call(
        "sendto",
        libc::SYS_sendto,
        "send on the channel; an address is refused by argument.",
    ),
    call("recvfrom", libc::SYS_recvfrom, "recv on the channel."),
    call(
        "sendmsg",
        libc::SYS_sendmsg,
        "Python's socket.sendmsg on a connected pair, which ignores addresses.",
    ),
    call(
        "recvmsg",
        libc::SYS_recvmsg,
        "The template receives a worker's descriptors.",
    ),
    call(
        "sendmmsg",
        libc::SYS_sendmmsg,
        "Libraries send several messages on a connected pair.",
    ),
    call(
        "recvmmsg",
        libc::SYS_recvmmsg,
        "Libraries receive several messages from a connected pair.",
    ),
    call(
        "shutdown",
        libc::SYS_shutdown,
        "One direction of a pair is closed.",
    ),
    call(
        "getsockopt",
        libc::SYS_getsockopt,
        "Python asks a socket for its type and error.",
    ),
    call(
        "setsockopt",
        libc::SYS_setsockopt,
        "asyncio sets buffer sizes of its pair.",
    ),
    call(
        "getsockname",
        libc::SYS_getsockname,
        "Python's socket.fromfd asks for the family.",
    ),
    call(
        "getpeername",
        libc::SYS_getpeername,
        "asyncio asks for the other end's name.",
    ),
    call("brk", libc::SYS_brk, "malloc grows the heap."),
    call(
        "mmap",
        libc::SYS_mmap,
        "Libraries, arenas and thread stacks are mapped; writing and executing at once is left to ctypes closures.",
    ),
    call("munmap", libc::SYS_munmap, "Mappings are returned."),
    call("mremap", libc::SYS_mremap, "realloc moves large blocks."),
    call(
        "mprotect",
        libc::SYS_mprotect,
        "The loader protects relocated data; ctypes makes closures executable.",
    ),
    call("madvise", libc::SYS_madvise, "malloc gives pages back."),
    call(
        "msync",
        libc::SYS_msync,
        "mmap.flush of a file in a lent temporary directory.",
    ),
    call(
        "mlock",
        libc::SYS_mlock,
        "Cryptographic libraries lock keys; the limit is small.",
    ),
    call(
        "munlock",
        libc::SYS_munlock,
        "It is used together with mlock.",
    ),
    call(
        "mbind",
        libc::SYS_mbind,
        "numpy's linear algebra places its own memory.",
    ),
    call(
        "get_mempolicy",
        libc::SYS_get_mempolicy,
        "It is used together with mbind.",
    ),
    call(
        "set_mempolicy",
        libc::SYS_set_mempolicy,
        "It is used together with mbind.",
    ),
    call(
        "membarrier",
        libc::SYS_membarrier,
        "Newer thread libraries order memory among their own threads.",
    ),
    call(
        "mseal",
        libc::SYS_mseal,
        "Newer loaders seal their own mappings.",
    ),
    call(
        "clone",
        libc::SYS_clone,
        "Threads and os.fork; new namespaces and shared parents are refused by argument.",
    ),
    call(
        "execve",
        libc::SYS_execve,
        "The start of the program itself, once; the sealed filter refuses all later ones.",
    ),
    call("exit", libc::SYS_exit, "A thread ends."),
    call("exit_group", libc::SYS_exit_group, "The process ends."),
    call("wait4", libc::SYS_wait4, "The template reaps its workers."),
    call("waitid", libc::SYS_waitid, "os.waitid on own children."),
    call(
        "set_tid_address",
        libc::SYS_set_tid_address,
        "Thread libraries at start.",
    ),
    call(
        "set_robust_list",
        libc::SYS_set_robust_list,
        "Thread libraries at start.",
    ),
    call(
        "get_robust_list",
        libc::SYS_get_robust_list,
        "Thread libraries look at their own list.",
    ),
    call("rseq", libc::SYS_rseq, "glibc registers each thread."),
    call(
        "sched_yield",
        libc::SYS_sched_yield,
        "Python answers os.sched_yield by it.",
    ),
    call(
        "sched_getaffinity",
        libc::SYS_sched_getaffinity,
        "os.cpu_count and thread pools.",
    ),
    call(
        "sched_getparam",
        libc::SYS_sched_getparam,
        "Thread attributes are read back.",
    ),
    call(
        "sched_getscheduler",
        libc::SYS_sched_getscheduler,
        "Thread attributes are read back.",
    ),
    call(
        "sched_get_priority_max",
        libc::SYS_sched_get_priority_max,
        "Python answers os.sched_get_priority_max by it.",
    ),
    call(
        "sched_get_priority_min",
        libc::SYS_sched_get_priority_min,
        "Python answers os.sched_get_priority_min by it.",
    ),
    call(
        "getcpu",
        libc::SYS_getcpu,
        "Libraries choose an arena by processor.",
    ),
    call(
        "getpriority",
        libc::SYS_getpriority,
        "os.getpriority reads.",
    ),
    call(
        "prctl",
        libc::SYS_prctl,
        "Names of threads, dumpable off, and questions; the rest is refused by argument.",
    ),
    call(
        "prlimit64",
        libc::SYS_prlimit64,
        "resource.getrlimit and lowering own limits; other processes are refused by argument.",
    ),
    call(
        "getrlimit",
        libc::SYS_getrlimit,
        "Older C libraries read limits by it.",
    ),
    call(
        "setrlimit",
        libc::SYS_setrlimit,
        "Lowering own limits; the hard limits hold.",
    ),
    call(
        "getrusage",
        libc::SYS_getrusage,
        "Python answers resource.getrusage by it.",
    ),
    call("times", libc::SYS_times, "Python answers os.times by it."),
    call(
        "sysinfo",
        libc::SYS_sysinfo,
        "os.sysconf asks for memory sizes.",
    ),
    call(
        "uname",
        libc::SYS_uname,
        "platform and os.uname; the host name is the namespace's.",
    ),
    call(
        "getpid",
        libc::SYS_getpid,
        "Python answers os.getpid by it.",
    ),
    call(
        "getppid",
        libc::SYS_getppid,
        "Python answers os.getppid by it.",
    ),
    call(
        "gettid",
        libc::SYS_gettid,
        "Python answers threading.get_native_id by it.",
    ),
    call(
        "getpgid",
        libc::SYS_getpgid,
        "Python answers os.getpgid by it.",
    ),
    call(
        "getsid",
        libc::SYS_getsid,
        "Python answers os.getsid by it.",
    ),
    call("getuid", libc::SYS_getuid, "site and os ask who runs them."),
    call(
        "geteuid",
        libc::SYS_geteuid,
        "site and os ask who runs them.",
    ),
    call("getgid", libc::SYS_getgid, "site and os ask who runs them."),
    call(
        "getegid",
        libc::SYS_getegid,
        "site and os ask who runs them.",
    ),
    call(
        "getresuid",
        libc::SYS_getresuid,
        "Python answers os.getresuid by it.",
    ),
    call(
        "getresgid",
        libc::SYS_getresgid,
        "Python answers os.getresgid by it.",
    ),
    call(
        "getgroups",
        libc::SYS_getgroups,
        "Python answers os.getgroups by it.",
    ),
    call(
        "capget",
        libc::SYS_capget,
        "Libraries ask whether they are privileged.",
    ),
    call(
        "getrandom",
        libc::SYS_getrandom,
        "os.urandom, hash seeds, uuid.",
    ),
    call(
        "personality",
        libc::SYS_personality,
        "The loader asks; every change is refused by argument.",
    ),
    call(
        "seccomp",
        libc::SYS_seccomp,
        "The jail installs the newest filter through the older ones; that filter then refuses it.",
    ),
    call(
        "rt_sigaction",
        libc::SYS_rt_sigaction,
        "Python sets handlers.",
    ),
    call(
        "rt_sigprocmask",
        libc::SYS_rt_sigprocmask,
        "Threads block signals.",
    ),
    call("rt_sigreturn", libc::SYS_rt_sigreturn, "A handler returns."),
    call(
        "rt_sigpending",
        libc::SYS_rt_sigpending,
        "Python answers signal.sigpending by it.",
    ),
    call(
        "rt_sigsuspend",
        libc::SYS_rt_sigsuspend,
        "Waiting for a signal of its own timers.",
    ),
    call(
        "rt_sigtimedwait",
        libc::SYS_rt_sigtimedwait,
        "Python answers signal.sigtimedwait by it.",
    ),
    call(
        "sigaltstack",
        libc::SYS_sigaltstack,
        "faulthandler has a stack of its own.",
    ),
    call(
        "setitimer",
        libc::SYS_setitimer,
        "signal.setitimer, for this process only.",
    ),
    call(
        "getitimer",
        libc::SYS_getitimer,
        "Python answers signal.getitimer by it.",
    ),
    call(
        "clock_gettime",
        libc::SYS_clock_gettime,
        "All clocks, where the vDSO cannot answer.",
    ),
    call(
        "clock_getres",
        libc::SYS_clock_getres,
        "Python answers time.get_clock_info by it.",
    ),
    call(
        "gettimeofday",
        libc::SYS_gettimeofday,
        "Older libraries ask for the time.",
    ),
    call(
        "landlock_create_ruleset",
        libc::SYS_landlock_create_ruleset,
        "A worker enters a domain of its own; domains only take away.",
    ),
    call(
        "landlock_add_rule",
        libc::SYS_landlock_add_rule,
        "It is used together with landlock_create_ruleset.",
    ),
    call(
        "landlock_restrict_self",
        libc::SYS_landlock_restrict_self,
        "It is used together with landlock_create_ruleset.",
    ),
];
