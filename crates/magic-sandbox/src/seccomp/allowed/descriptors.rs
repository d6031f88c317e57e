//! Files, directories, waiting, and sockets that exist already.

use crate::seccomp::{Allowed, call};

pub(super) const DESCRIPTORS: &[Allowed] = &[
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
        "Python answers os.preadv by it; flags are refused by argument.",
    ),
    call(
        "pwritev2",
        libc::SYS_pwritev2,
        "Python answers os.pwritev by it; flags are refused by argument.",
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
        "Copies and flags of descriptors, sizes of pipes; all other commands are refused by argument.",
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
        "os.posix_fadvise is a hint about own reading; emptying the shared cache is refused by argument.",
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
        "send on the channel; an address and bytes out of band are refused by argument.",
    ),
    call(
        "recvfrom",
        libc::SYS_recvfrom,
        "recv on the channel; bytes out of band are refused by argument.",
    ),
    call(
        "sendmsg",
        libc::SYS_sendmsg,
        "Python's socket.sendmsg on a connected pair, which ignores addresses; not out of band, by argument.",
    ),
    call(
        "recvmsg",
        libc::SYS_recvmsg,
        "The template receives a worker's descriptors; bytes out of band are refused by argument.",
    ),
    call(
        "shutdown",
        libc::SYS_shutdown,
        "One direction of a pair is closed.",
    ),
    call(
        "getsockopt",
        libc::SYS_getsockopt,
        "Python asks a socket for its type and error; other options are refused by argument.",
    ),
    call(
        "setsockopt",
        libc::SYS_setsockopt,
        "Programs set buffer sizes of a pair; other options are refused by argument.",
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
];
