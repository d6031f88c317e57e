//! Calls on sockets and files that pass in their ordinary uses: each harmless use beside the hostile one,
//! inside and outside.

use magic_sandbox::Ended;

use crate::calls::harness;
use crate::support::{plan, run, run_outside};

/// What the calls below are made on.
const OBJECTS: &str = "
import socket, struct
left, right = socket.socketpair()
left, right = left.detach(), right.detach()
file = os.open('/usr/bin/python3', os.O_RDONLY)
null = os.open('/dev/null', os.O_WRONLY)
address = ctypes.addressof
vector = ctypes.create_string_buffer(struct.pack('QQ', address(page), 1))
message = ctypes.create_string_buffer(struct.pack('QIxxxxQQQQixxxxQ', 0, 0, address(vector), 1, 0, 0, 0, 0))
number = (ctypes.c_int * 1)(1)
length = (ctypes.c_int * 1)(4)
# BPF_RET | BPF_K: all of every message passes.
code = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, 0xffffffff))
program = ctypes.create_string_buffer(struct.pack('HxxxxxxQ', 1, address(code)))
mapped = ctypes.create_string_buffer(8192)
aligned = (address(mapped) + 4095) // 4096 * 4096
";

/// One use of a call: its arguments in Python, and what it answers outside and inside. Outside there may
/// be several answers, with spaces between them.
struct Use {
    name: &'static str,
    number: libc::c_long,
    arguments: &'static str,
    outside: &'static str,
    inside: &'static str,
}

fn attack(
    name: &'static str,
    number: libc::c_long,
    arguments: &'static str,
    outside: &'static str,
) -> Use {
    Use {
        name,
        number,
        arguments,
        outside,
        inside: "EPERM",
    }
}

fn harmless(name: &'static str, number: libc::c_long, arguments: &'static str) -> Use {
    Use {
        name,
        number,
        arguments,
        outside: "ok",
        inside: "ok",
    }
}

fn compare(uses: &[Use]) {
    let calls: String = uses
        .iter()
        .map(|each| format!("call({}, {})\n", each.number, each.arguments))
        .collect();
    let code = harness(&format!("{OBJECTS}{calls}"));
    let outside = run_outside(&code);
    let outcome = run(&plan(&code), None);
    assert_eq!(outcome.ended, Ended::Exited(0), "{}", outcome.stderr);
    let inside: Vec<&str> = outcome.stdout.lines().collect();
    let outside: Vec<&str> = outside.lines().collect();
    assert_eq!(outside.len(), uses.len(), "{outside:?}");
    assert_eq!(inside.len(), uses.len(), "{inside:?} {}", outcome.stderr);
    for ((each, outside), inside) in uses.iter().zip(outside).zip(inside) {
        let name = each.name;
        assert!(
            each.outside.split(' ').any(|answer| answer == outside),
            "{name}, outside: {outside}"
        );
        assert_eq!(inside, each.inside, "{name}, inside");
    }
}

/// MSG_OOB is 1 and MSG_DONTWAIT 0x40, so that a test that is wrong fails and does not hang.
#[test]
fn no_bytes_out_of_band() {
    compare(&[
        harmless("send", libc::SYS_sendto, "left, b'x', 1, 0x40, 0, 0"),
        harmless("receive", libc::SYS_recvfrom, "right, page, 1, 0x40, 0, 0"),
        harmless("send a message", libc::SYS_sendmsg, "left, message, 0x40"),
        harmless(
            "receive a message",
            libc::SYS_recvmsg,
            "right, message, 0x40",
        ),
        attack(
            "send out of band",
            libc::SYS_sendto,
            "left, b'x', 1, 0x41, 0, 0",
            "ok",
        ),
        attack(
            "receive out of band",
            libc::SYS_recvfrom,
            "right, page, 1, 0x41, 0, 0",
            "ok",
        ),
        attack(
            "send with rubbish above 32 bits",
            libc::SYS_sendto,
            "left, b'x', 1, (1 << 40) | 1, 0, 0",
            "ok",
        ),
        attack(
            "receive with rubbish above 32 bits",
            libc::SYS_recvfrom,
            "right, page, 1, (1 << 40) | 1, 0, 0",
            "ok",
        ),
        attack(
            "send a message out of band",
            libc::SYS_sendmsg,
            "left, message, 0x41",
            "ok",
        ),
        attack(
            "receive a message out of band",
            libc::SYS_recvmsg,
            "right, message, 0x41",
            "ok",
        ),
        attack(
            "send messages out of band",
            libc::SYS_sendmmsg,
            "left, message, 1, 0x41",
            "ok",
        ),
        attack(
            "receive messages out of band",
            libc::SYS_recvmmsg,
            "right, message, 1, 0x41, 0",
            "ok",
        ),
    ]);
}

#[test]
fn options_of_sockets_are_few() {
    compare(&[
        harmless(
            "SO_TYPE",
            libc::SYS_getsockopt,
            "left, 1, 3, number, length",
        ),
        harmless(
            "SO_ERROR",
            libc::SYS_getsockopt,
            "left, 1, 4, number, length",
        ),
        harmless(
            "SO_PROTOCOL",
            libc::SYS_getsockopt,
            "left, 1, 38, number, length",
        ),
        harmless(
            "SO_DOMAIN",
            libc::SYS_getsockopt,
            "left, 1, 39, number, length",
        ),
        harmless("SO_SNDBUF", libc::SYS_setsockopt, "left, 1, 7, number, 4"),
        harmless("SO_RCVBUF", libc::SYS_setsockopt, "left, 1, 8, number, 4"),
        attack(
            "SO_PEERPIDFD",
            libc::SYS_getsockopt,
            "left, 1, 77, number, length",
            "ok",
        ),
        attack(
            "SO_PEERPIDFD with rubbish above 32 bits",
            libc::SYS_getsockopt,
            "left, 1, (1 << 40) | 77, number, length",
            "ok",
        ),
        attack(
            "SO_PEERCRED",
            libc::SYS_getsockopt,
            "left, 1, 17, page, length",
            "ok",
        ),
        attack(
            "an option of TCP by an allowed number",
            libc::SYS_getsockopt,
            "left, 6, 4, number, length",
            "ENOTSUP",
        ),
        attack(
            "SO_PASSPIDFD",
            libc::SYS_setsockopt,
            "left, 1, 76, number, 4",
            "ok",
        ),
        attack(
            "SO_PASSCRED",
            libc::SYS_setsockopt,
            "left, 1, 16, number, 4",
            "ok",
        ),
        attack(
            "SO_ATTACH_FILTER",
            libc::SYS_setsockopt,
            "left, 1, 26, program, 16",
            "ok",
        ),
        attack(
            "SO_ATTACH_FILTER with rubbish above 32 bits",
            libc::SYS_setsockopt,
            "left, (1 << 40) | 1, (1 << 40) | 26, program, 16",
            "ok",
        ),
        // Descriptor 1 is no program: the kernel has looked.
        attack(
            "SO_ATTACH_BPF",
            libc::SYS_setsockopt,
            "left, 1, 50, number, 4",
            "EINVAL EBADF",
        ),
        attack(
            "an option of TCP by an allowed number",
            libc::SYS_setsockopt,
            "left, 6, 8, number, 4",
            "ENOTSUP",
        ),
    ]);
}

/// What is in the cache tells what others read, and throwing it out tells them something.
#[test]
fn the_page_cache_is_neither_asked_nor_emptied() {
    compare(&[
        harmless("read", libc::SYS_preadv2, "file, vector, 1, 0, 0, 0"),
        harmless("write", libc::SYS_pwritev2, "null, vector, 1, 0, 0, 0"),
        // RWF_NOWAIT.
        attack(
            "read what is cached",
            libc::SYS_preadv2,
            "file, vector, 1, 0, 0, 8",
            "ok EAGAIN",
        ),
        attack(
            "read uncached",
            libc::SYS_preadv2,
            "file, vector, 1, 0, 0, 0x80",
            "ok ENOTSUP",
        ),
        // RWF_DSYNC.
        attack(
            "write with flags",
            libc::SYS_pwritev2,
            "null, vector, 1, 0, 0, 2",
            "ok",
        ),
        harmless("read in order", libc::SYS_fadvise64, "file, 0, 0, 2"),
        harmless("read soon", libc::SYS_fadvise64, "file, 0, 4096, 3"),
        attack(
            "empty the cache",
            libc::SYS_fadvise64,
            "file, 0, 0, 4",
            "ok",
        ),
        attack(
            "empty the cache with rubbish above 32 bits",
            libc::SYS_fadvise64,
            "file, 0, 0, (1 << 40) | 4",
            "ok",
        ),
        attack("read ahead", libc::SYS_readahead, "file, 0, 4096", "ok"),
        attack(
            "pages that are cached",
            libc::SYS_mincore,
            "aligned, 4096, page",
            "ok",
        ),
        // cachestat
        attack(
            "counts of cached pages",
            451,
            "file, bytes(16), page, 0",
            "ok",
        ),
    ]);
}
