//! Calls that are allowed in some uses and refused in others, by what the filter can see: numbers.
//!
//! Each entry lists the uses that are *refused*. Several rules of one call are alternatives; the
//! conditions of one rule hold together. What the kernel reads as 32 bits is compared as 32 bits, or a
//! value with rubbish in its upper half would pass.

use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::SeccompCmpOp::{Eq, Gt, MaskedEq, Ne};
use seccompiler::{BackendError, SeccompCondition, SeccompRule};

type Conditions = Vec<Result<SeccompCondition, BackendError>>;

/// `clone` flags that a thread or a fork never has. The namespaces are the walls; a shared parent would
/// make a worker's child look like a worker; tracing is for debuggers; a process descriptor is a handle.
/// CLONE_NEWTIME shares its bit with the exit signal and is not to be had by this call (`clone(2)`).
const CLONE_REFUSED: [libc::c_int; 12] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_PARENT,
    libc::CLONE_PTRACE,
    libc::CLONE_UNTRACED,
    libc::CLONE_PIDFD,
    libc::CLONE_IO,
];

/// Requests of `ioctl` that pass: is it a terminal, how much can be read, blocking, close-on-exec.
/// TIOCSTI and TIOCLINUX, which type into a terminal, are never here.
const IOCTL_ALLOWED: [u64; 7] = [
    libc::TCGETS,
    0x802C_542A, // TCGETS2, which newer C libraries ask first
    libc::TIOCGWINSZ,
    libc::FIONREAD,
    libc::FIONBIO,
    libc::FIOCLEX,
    libc::FIONCLEX,
];

/// Commands of `fcntl` that pass: copies, flags, sizes of pipes. Owners and their signals, leases and
/// notices are refused, and so are locks: all files that a program can open are shared with programs of
/// others, and a lock on them is seen by all.
const FCNTL_ALLOWED: [u64; 8] = [
    0,    // F_DUPFD
    1,    // F_GETFD
    2,    // F_SETFD
    3,    // F_GETFL
    4,    // F_SETFL
    1030, // F_DUPFD_CLOEXEC
    1031, // F_SETPIPE_SZ
    1032, // F_GETPIPE_SZ
];

/// Calls that only ask, and take the number of a process first: no number but 0, which is oneself. A
/// sibling's would tell that it exists.
const OWN_PROCESS_ONLY: [libc::c_long; 6] = [
    libc::SYS_getpgid,
    libc::SYS_getsid,
    libc::SYS_get_robust_list,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
];

/// Calls that take a clock first. Above the numbered clocks are those made of the number of a process,
/// which tell how much processor time a sibling has used, and those made of a descriptor.
const CLOCKS: [libc::c_long; 4] = [
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_timerfd_create,
];
const LAST_NUMBERED_CLOCK: u64 = 15;

/// Options of `prctl` that pass whatever their arguments: questions, names, and what only takes away.
const PRCTL_ALLOWED: [libc::c_int; 14] = [
    libc::PR_SET_NAME,
    libc::PR_GET_NAME,
    libc::PR_GET_DUMPABLE,
    libc::PR_GET_PDEATHSIG,
    libc::PR_GET_KEEPCAPS,
    libc::PR_GET_SECCOMP,
    libc::PR_CAPBSET_READ,
    libc::PR_GET_SECUREBITS,
    libc::PR_GET_TIMERSLACK,
    libc::PR_GET_TID_ADDRESS,
    libc::PR_GET_CHILD_SUBREAPER,
    libc::PR_GET_THP_DISABLE,
    libc::PR_SET_NO_NEW_PRIVS,
    libc::PR_GET_NO_NEW_PRIVS,
];
/// Names an anonymous mapping, which allocators do (`prctl(2)`).
const PR_SET_VMA: u64 = 0x5356_4d41;

/// Calls that take flags of messages, and which argument that is. A byte out of band moves through code of
/// the kernel that hardly anyone uses and that has been a way into it; Python needs it for FTP alone.
const MESSAGE_FLAGS: [(libc::c_long, u8); 3] = [
    (libc::SYS_recvfrom, 3),
    (libc::SYS_sendmsg, 2),
    (libc::SYS_recvmsg, 2),
];

/// Options that may be asked of a socket, all of the level SOL_SOCKET: what Python's `socket` asks a descriptor
/// that it is given, what asyncio asks, sizes. Others make handles on the peer's process
/// (SO_PEERPIDFD), and Python needs no credentials of a peer.
const OPTIONS_ASKED: [libc::c_int; 7] = [
    libc::SO_TYPE,
    libc::SO_ERROR,
    libc::SO_SNDBUF,
    libc::SO_RCVBUF,
    libc::SO_ACCEPTCONN,
    libc::SO_PROTOCOL,
    libc::SO_DOMAIN,
];

/// Options that may be set: sizes. Others load programs into the kernel (SO_ATTACH_FILTER and its kin), or
/// have handles on processes sent along (SO_PASSPIDFD).
const OPTIONS_SET: [libc::c_int; 2] = [libc::SO_SNDBUF, libc::SO_RCVBUF];

/// Hints about reading that pass. POSIX_FADV_DONTNEED is not one: it throws pages of a file that all
/// programs share out of the cache, and who reads them next can measure that, which is a way to talk.
const ADVICE_ALLOWED: [libc::c_int; 5] = [
    libc::POSIX_FADV_NORMAL,
    libc::POSIX_FADV_RANDOM,
    libc::POSIX_FADV_SEQUENTIAL,
    libc::POSIX_FADV_WILLNEED,
    libc::POSIX_FADV_NOREUSE,
];

/// Calls whose sixth argument is flags that must be 0: one of them, RWF_NOWAIT, tells whether the page is
/// cached. Python answers os.preadv by them and gives 0.
const FLAGLESS: [libc::c_long; 2] = [libc::SYS_preadv2, libc::SYS_pwritev2];

/// The refused uses, by call number.
pub(super) fn refusals() -> Result<Vec<(i64, Vec<SeccompRule>)>, BackendError> {
    let own = OWN_PROCESS_ONLY.map(|number| {
        let other = SeccompCondition::new(0, Dword, Ne, 0);
        (number, vec![vec![other]])
    });
    let clocks = CLOCKS.map(|number| {
        let made = SeccompCondition::new(0, Dword, Gt, LAST_NUMBERED_CLOCK);
        (number, vec![vec![made]])
    });
    let messages = MESSAGE_FLAGS.map(|(number, flags)| (number, vec![out_of_band(flags)]));
    let flagless = FLAGLESS.map(|number| {
        let some = SeccompCondition::new(5, Dword, Ne, 0);
        (number, vec![vec![some]])
    });
    [
        (libc::SYS_clone, clone()),
        (libc::SYS_socketpair, socketpair()),
        // A connected stream ignores an address or refuses it; this keeps the question from coming up.
        (
            libc::SYS_sendto,
            vec![vec![SeccompCondition::new(4, Qword, Ne, 0)], out_of_band(3)],
        ),
        (libc::SYS_getsockopt, options(&OPTIONS_ASKED)),
        (libc::SYS_setsockopt, options(&OPTIONS_SET)),
        (
            libc::SYS_fadvise64,
            vec![none_of(3, &ADVICE_ALLOWED.map(number))],
        ),
        (libc::SYS_ioctl, vec![none_of(1, &IOCTL_ALLOWED)]),
        (libc::SYS_fcntl, vec![none_of(1, &FCNTL_ALLOWED)]),
        (libc::SYS_prctl, prctl()),
        (libc::SYS_prlimit64, prlimit()),
        (
            libc::SYS_setrlimit,
            vec![vec![SeccompCondition::new(0, Dword, Eq, core_limit())]],
        ),
        (
            libc::SYS_getpriority,
            vec![vec![SeccompCondition::new(1, Dword, Ne, 0)]],
        ),
        // Only the question; the flags would switch address randomization off.
        (libc::SYS_personality, vec![none_of(0, &[0xffff_ffff])]),
        // The newest filter refuses to be followed by another, whatever the operation.
        (
            libc::SYS_seccomp,
            vec![vec![SeccompCondition::new(
                0,
                Dword,
                Ne,
                u64::from(u32::MAX),
            )]],
        ),
    ]
    .into_iter()
    .chain(own)
    .chain(clocks)
    .chain(messages)
    .chain(flagless)
    .map(|(number, rules)| {
        Ok((
            number,
            rules.into_iter().map(rule).collect::<Result<_, _>>()?,
        ))
    })
    .collect()
}

fn rule(conditions: Conditions) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(conditions.into_iter().collect::<Result<_, _>>()?)
}

fn clone() -> Vec<Conditions> {
    CLONE_REFUSED
        .into_iter()
        .map(|flag| {
            let flag = u64::from(flag.cast_unsigned());
            vec![SeccompCondition::new(0, Dword, MaskedEq(flag), flag)]
        })
        .collect()
}

/// Only unix pairs, and of them only those that stay connected: a datagram socket, even one of a pair,
/// can send to any name. The kernel makes a datagram socket of SOCK_RAW as well (`net/unix/af_unix.c`).
fn socketpair() -> Vec<Conditions> {
    let family = u64::from(libc::AF_UNIX.cast_unsigned());
    let mut rules = vec![vec![SeccompCondition::new(0, Dword, Ne, family)]];
    let connected = [libc::SOCK_STREAM, libc::SOCK_SEQPACKET];
    for kind in (0..16).filter(|kind| !connected.contains(kind)) {
        let kind = u64::from(kind.cast_unsigned());
        rules.push(vec![SeccompCondition::new(1, Dword, MaskedEq(0xf), kind)]);
    }
    rules
}

fn out_of_band(flags: u8) -> Conditions {
    let flag = number(libc::MSG_OOB);
    vec![SeccompCondition::new(flags, Dword, MaskedEq(flag), flag)]
}

/// Every option but these, and every level but that of all sockets.
fn options(allowed: &[libc::c_int]) -> Vec<Conditions> {
    let allowed: Vec<u64> = allowed.iter().copied().map(number).collect();
    let level = number(libc::SOL_SOCKET);
    vec![
        vec![SeccompCondition::new(1, Dword, Ne, level)],
        none_of(2, &allowed),
    ]
}

/// Limits of another process, and any change of the own core limit: it is 1, at which the kernel gives
/// up every dump into a pipe, and *lowering* it to 0 would bring the host's dump helper back.
fn prlimit() -> Vec<Conditions> {
    vec![
        vec![SeccompCondition::new(0, Dword, Ne, 0)],
        vec![
            SeccompCondition::new(1, Dword, Eq, core_limit()),
            SeccompCondition::new(2, Qword, Ne, 0),
        ],
    ]
}

fn core_limit() -> u64 {
    u64::from(libc::RLIMIT_CORE)
}

fn prctl() -> Vec<Conditions> {
    let mut allowed: Vec<u64> = PRCTL_ALLOWED.into_iter().map(number).collect();
    allowed.push(PR_SET_VMA);
    let dumpable = number(libc::PR_SET_DUMPABLE);
    allowed.push(dumpable);
    vec![
        none_of(0, &allowed),
        // A process may hide from its siblings, and not open itself to them.
        vec![
            SeccompCondition::new(0, Dword, Eq, dumpable),
            SeccompCondition::new(1, Qword, Ne, 0),
        ],
    ]
}

/// A C `int` as the filter compares it.
fn number(value: libc::c_int) -> u64 {
    u64::from(value.cast_unsigned())
}

/// Refuses every value that is not listed.
fn none_of(argument: u8, values: &[u64]) -> Conditions {
    values
        .iter()
        .map(|value| SeccompCondition::new(argument, Dword, Ne, *value))
        .collect()
}
