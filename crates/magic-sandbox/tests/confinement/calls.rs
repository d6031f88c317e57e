//! System calls one by one, made raw, so that no library decides anything.

use magic_sandbox::{Ended, Layer, Level};

use crate::support::{plan, run, run_outside};

/// Python that makes raw calls in forked children and prints how each ended, one line each:
/// the error's name, `ok`, or `signal N`.
pub(crate) fn harness(calls: &str) -> String {
    format!(
        r"
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
page = ctypes.create_string_buffer(4096)
def call(number, *arguments):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        ctypes.set_errno(0)
        arguments = [a if isinstance(a, (bytes, ctypes.Array)) else ctypes.c_long(a) for a in arguments]
        answer = libc.syscall(ctypes.c_long(number), *arguments)
        failed = answer == -1 and ctypes.get_errno()
        os.write(writer, (errno.errorcode.get(failed, str(failed)) if failed else 'ok').encode())
        os._exit(0)
    os.close(writer)
    said = os.read(reader, 100).decode()
    os.close(reader)
    status = os.waitpid(child, 0)[1]
    print(f'signal {{status & 127}}' if status & 127 else said)
{calls}
"
    )
}

/// Each line of `calls` inside, with what it must answer.
fn answers(calls: &[(&str, String, &str)]) {
    let code: String = calls
        .iter()
        .map(|(_, call, _)| format!("{call}\n"))
        .collect();
    let outcome = run(&plan(&harness(&code)), None);
    assert_eq!(outcome.ended, Ended::Exited(0), "{}", outcome.stderr);
    let said: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(said.len(), calls.len(), "{}", outcome.stderr);
    for ((name, call, wanted), said) in calls.iter().zip(said) {
        assert_eq!(said, *wanted, "{name}: {call}");
    }
}

fn call(
    name: &'static str,
    number: i64,
    rest: &str,
    wanted: &'static str,
) -> (&'static str, String, &'static str) {
    (name, format!("call({number}{rest})"), wanted)
}

#[test]
fn refused_calls_say_not_permitted() {
    answers(&[
        call("socket", libc::SYS_socket, ", 1, 1, 0", "EPERM"),
        call("connect", libc::SYS_connect, ", 3, page, 16", "EPERM"),
        call(
            "execve",
            libc::SYS_execve,
            ", b'/usr/bin/python3', 0, 0",
            "EPERM",
        ),
        call(
            "execveat",
            libc::SYS_execveat,
            ", 0, b'', 0, 0, 4096",
            "EPERM",
        ),
        call("kill", libc::SYS_kill, ", 1, 0", "EPERM"),
        call("tkill", libc::SYS_tkill, ", 1, 0", "EPERM"),
        call("tgkill", libc::SYS_tgkill, ", 1, 1, 0", "EPERM"),
        call(
            "rt_sigqueueinfo",
            libc::SYS_rt_sigqueueinfo,
            ", 1, 10, page",
            "EPERM",
        ),
        call("pidfd_open", libc::SYS_pidfd_open, ", 1, 0", "EPERM"),
        call("pidfd_getfd", libc::SYS_pidfd_getfd, ", 0, 0, 0", "EPERM"),
        call("ptrace", libc::SYS_ptrace, ", 16, 1, 0, 0", "EPERM"),
        call(
            "process_vm_readv",
            libc::SYS_process_vm_readv,
            ", 1, 0, 0, 0, 0, 0",
            "EPERM",
        ),
        call("kcmp", libc::SYS_kcmp, ", 1, 1, 0, 0, 0", "EPERM"),
        call(
            "sched_setaffinity",
            libc::SYS_sched_setaffinity,
            ", 1, 8, page",
            "EPERM",
        ),
        call("setpriority", libc::SYS_setpriority, ", 0, 1, 0", "EPERM"),
        call("shmget", libc::SYS_shmget, ", 0, 4096, 512", "EPERM"),
        call("semget", libc::SYS_semget, ", 0, 1, 512", "EPERM"),
        call("msgget", libc::SYS_msgget, ", 0, 512", "EPERM"),
        call("mq_open", libc::SYS_mq_open, ", b'x', 64, 438, 0", "EPERM"),
        call("memfd_create", libc::SYS_memfd_create, ", b'x', 0", "EPERM"),
        call("unshare", libc::SYS_unshare, ", 0x10000000", "EPERM"),
        call("setns", libc::SYS_setns, ", 0, 0", "EPERM"),
        call(
            "mount",
            libc::SYS_mount,
            ", b'x', b'/tmp', b'tmpfs', 0, 0",
            "EPERM",
        ),
        call("fsopen", libc::SYS_fsopen, ", b'tmpfs', 0", "EPERM"),
        call("open_tree", libc::SYS_open_tree, ", -100, b'/', 1", "EPERM"),
        call(
            "openat2",
            libc::SYS_openat2,
            ", -100, b'/', page, 24",
            "EPERM",
        ),
        call(
            "name_to_handle_at",
            libc::SYS_name_to_handle_at,
            ", -100, b'/', page, page, 0",
            "EPERM",
        ),
        call(
            "mknodat",
            libc::SYS_mknodat,
            ", -100, b'/tmp/x', 4480, 0",
            "EPERM",
        ),
        call(
            "renameat2",
            libc::SYS_renameat2,
            ", -100, b'/a', -100, b'/b', 2",
            "EPERM",
        ),
        call(
            "setxattr",
            libc::SYS_setxattr,
            ", b'/tmp', b'user.x', b'1', 1, 0",
            "EPERM",
        ),
        call(
            "io_uring_setup",
            libc::SYS_io_uring_setup,
            ", 1, page",
            "EPERM",
        ),
        call(
            "perf_event_open",
            libc::SYS_perf_event_open,
            ", page, 0, -1, -1, 0",
            "EPERM",
        ),
        call("keyctl", libc::SYS_keyctl, ", 0, -3, 0", "EPERM"),
        call(
            "add_key",
            libc::SYS_add_key,
            ", b'user', b'a', b'b', 1, -3",
            "EPERM",
        ),
        call("seccomp", libc::SYS_seccomp, ", 1, 0, page", "EPERM"),
        call("setuid", libc::SYS_setuid, ", 0", "EPERM"),
        call("chroot", libc::SYS_chroot, ", b'/tmp'", "EPERM"),
    ]);
}

#[test]
fn arguments_decide() {
    answers(&[
        call(
            "clone with a namespace",
            libc::SYS_clone,
            ", 0x10000011, 0, 0, 0, 0",
            "EPERM",
        ),
        call(
            "clone with a shared parent",
            libc::SYS_clone,
            ", 0x8011, 0, 0, 0, 0",
            "EPERM",
        ),
        call("stream pair", libc::SYS_socketpair, ", 1, 1, 0, page", "ok"),
        call(
            "packet pair",
            libc::SYS_socketpair,
            ", 1, 5 | 0x80000, 0, page",
            "ok",
        ),
        call(
            "datagram pair",
            libc::SYS_socketpair,
            ", 1, 2, 0, page",
            "EPERM",
        ),
        call("raw pair", libc::SYS_socketpair, ", 1, 3, 0, page", "EPERM"),
        call(
            "pair of another family",
            libc::SYS_socketpair,
            ", 2, 1, 0, page",
            "EPERM",
        ),
        call(
            "pair with rubbish above 32 bits",
            libc::SYS_socketpair,
            ", (1 << 40) | 16, 1, 0, page",
            "EPERM",
        ),
        call(
            "typing into a terminal",
            libc::SYS_ioctl,
            ", 1, 0x5412, page",
            "EPERM",
        ),
        call(
            "the console's menu",
            libc::SYS_ioctl,
            ", 1, 0x541c, page",
            "EPERM",
        ),
        call("bytes to read", libc::SYS_ioctl, ", 1, 0x541b, page", "ok"),
        call(
            "signals by descriptor owner",
            libc::SYS_fcntl,
            ", 1, 8, 1",
            "EPERM",
        ),
        call(
            "signals by descriptor number",
            libc::SYS_fcntl,
            ", 1, 10, 9",
            "EPERM",
        ),
        call("flags", libc::SYS_fcntl, ", 1, 1", "ok"),
        call("record locks", libc::SYS_fcntl, ", 1, 6, page", "EPERM"),
        call("own group", libc::SYS_getpgid, ", 0", "ok"),
        call("group of another", libc::SYS_getpgid, ", 1", "EPERM"),
        call("own clock", libc::SYS_clock_gettime, ", 2, page", "ok"),
        call(
            "clock of another",
            libc::SYS_clock_gettime,
            ", (~1 << 3) | 2, page",
            "EPERM",
        ),
        call("dumpable on", libc::SYS_prctl, ", 4, 1, 0, 0, 0", "EPERM"),
        call("dumpable off", libc::SYS_prctl, ", 4, 0, 0, 0, 0", "ok"),
        call(
            "a weaker filter",
            libc::SYS_prctl,
            ", 22, 2, page, 0, 0",
            "EPERM",
        ),
        call(
            "parent death signal",
            libc::SYS_prctl,
            ", 1, 9, 0, 0, 0",
            "EPERM",
        ),
        call("subreaper", libc::SYS_prctl, ", 36, 1, 0, 0, 0", "EPERM"),
        call("name", libc::SYS_prctl, ", 15, b'spoof', 0, 0, 0", "ok"),
        call("own limits", libc::SYS_prlimit64, ", 0, 7, 0, page", "ok"),
        call(
            "own core limit",
            libc::SYS_prlimit64,
            ", 0, 4, page, 0",
            "EPERM",
        ),
        call("own core limit", libc::SYS_setrlimit, ", 4, page", "EPERM"),
        call(
            "own stack limit",
            libc::SYS_prlimit64,
            ", 0, 3, (1 << 20).to_bytes(8, 'little') * 2, 0",
            "ok",
        ),
        call(
            "limits of another",
            libc::SYS_prlimit64,
            ", 1, 7, 0, page",
            "EPERM",
        ),
        call(
            "randomization off",
            libc::SYS_personality,
            ", 0x40000",
            "EPERM",
        ),
        call(
            "asking for the personality",
            libc::SYS_personality,
            ", 0xffffffff",
            "ok",
        ),
    ]);
}

#[test]
fn unknown_calls_say_so() {
    let mut calls = vec![
        call("clone3", libc::SYS_clone3, ", page, 88", "ENOSYS"),
        call("a number of the future", 600, "", "ENOSYS"),
        call("a number far away", 100_000, "", "ENOSYS"),
    ];
    if cfg!(target_arch = "x86_64") {
        // getpid, getppid and ptrace by their x32 numbers.
        calls.push(call("x32", 0x4000_0000 | libc::SYS_getpid, "", "ENOSYS"));
        calls.push(call("x32", 0x4000_0000 | 521, "", "ENOSYS"));
    }
    answers(&calls);
}

#[test]
fn hopeless_calls_kill() {
    answers(&[
        call(
            "init_module",
            libc::SYS_init_module,
            ", page, 1, b''",
            "signal 31",
        ),
        call(
            "finit_module",
            libc::SYS_finit_module,
            ", 0, b'', 0",
            "signal 31",
        ),
        call(
            "kexec_load",
            libc::SYS_kexec_load,
            ", 0, 0, 0, 0",
            "signal 31",
        ),
        call("reboot", libc::SYS_reboot, ", 0, 0, 0, 0", "signal 31"),
        call("bpf", libc::SYS_bpf, ", 0, page, 0", "signal 31"),
        call("userfaultfd", libc::SYS_userfaultfd, ", 0", "signal 31"),
        call(
            "process_vm_writev",
            libc::SYS_process_vm_writev,
            ", 1, 0, 0, 0, 0, 0",
            "signal 31",
        ),
        call("swapon", libc::SYS_swapon, ", b'x', 0", "signal 31"),
    ]);
}

/// The same calls outside: an answer other than "not permitted" shows that the filter refused above.
#[test]
fn the_same_calls_work_outside() {
    let code = harness(&format!(
        "call({}, 1, 1, 0)\ncall({}, b'x', 0)\ncall({}, 1, 2, 0, page)\ncall({}, 4, 1, 0, 0, 0)\ncall({}, 0x10000000)",
        libc::SYS_socket,
        libc::SYS_memfd_create,
        libc::SYS_socketpair,
        libc::SYS_prctl,
        libc::SYS_unshare,
    ));
    assert_eq!(run_outside(&code), "ok\n".repeat(5));
}

/// 32-bit calls use other numbers; the filter kills before it looks at them.
#[test]
#[cfg(target_arch = "x86_64")]
fn calls_of_another_architecture_kill() {
    // mov eax, 20 (getpid); int 0x80; ret
    let code = "import ctypes, mmap\nm = mmap.mmap(-1, 4096, prot=7)\nm.write(bytes.fromhex('b814000000cd80c3'))\naddress = ctypes.addressof(ctypes.c_char.from_buffer(m))\nctypes.CFUNCTYPE(ctypes.c_int)(address)()\nprint('returned')";
    let outcome = run(&plan(code), None);
    assert_eq!(outcome.ended, Ended::Signaled(libc::SIGSYS));
    assert!(outcome.ended.is_filter_kill());
    let mut open = plan(code);
    open.layers = open.layers.with(Layer::Seccomp, Level::Off);
    let outcome = run(&open, None);
    assert_eq!(outcome.stdout, "returned\n", "{}", outcome.stderr);
}

/// Every way that Python has to start a program, in the program's own first moments and in a thread.
#[test]
fn nothing_is_executed_after_the_start() {
    let code = "
import os, threading
def attempts():
    for attempt in (lambda: os.execv('/usr/bin/python3', ['x']),
                    lambda: os.posix_spawn('/usr/bin/python3', ['x'], {}),
                    lambda: os.execve(os.open('/usr/bin/python3', os.O_RDONLY), ['x'], {})):
        try:
            attempt()
            print('executed')
        except PermissionError:
            print('refused')
attempts()
thread = threading.Thread(target=attempts)
thread.start()
thread.join()
";
    let outcome = run(&plan(code), None);
    assert_eq!(outcome.stdout, "refused\n".repeat(6), "{}", outcome.stderr);
    let mut open =
        plan("import os; os.execv('/usr/bin/python3', ['x', '-I', '-S', '-c', 'print(1)'])");
    open.layers = open.layers.with(Layer::Seccomp, Level::Off);
    assert_eq!(run(&open, None).stdout, "1\n");
}
