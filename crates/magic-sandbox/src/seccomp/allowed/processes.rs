//! Memory, threads and children, signals, time, and questions about the process itself.

use crate::seccomp::{Allowed, call};

pub(super) const PROCESSES: &[Allowed] = &[
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
