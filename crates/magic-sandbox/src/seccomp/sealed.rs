//! The filter that lets one `execve` through: the one that starts the program.
//!
//! The three pointers are compared without any branch in between. A compare chain stops at the first
//! difference, and a program that may try as often as it likes could learn the numbers half by half
//! from the time that a refusal takes. Here all six halves are always looked at: differences are
//! collected by OR, and only the sum of them decides.

use seccompiler::{BpfProgram, sock_filter};

/// Offsets in `struct seccomp_data` of `linux/seccomp.h`.
const NUMBER: u32 = 0;
const FIRST_ARGUMENT: u32 = 16;

const LOAD: u16 = code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS);
const LOAD_IMMEDIATE: u16 = code(libc::BPF_LD | libc::BPF_IMM);
const LOAD_MEMORY_X: u16 = code(libc::BPF_LDX | libc::BPF_MEM);
const STORE: u16 = code(libc::BPF_ST);
const XOR: u16 = code(libc::BPF_ALU | libc::BPF_XOR | libc::BPF_K);
const OR_X: u16 = code(libc::BPF_ALU | libc::BPF_OR | libc::BPF_X);
const JUMP_IF_EQUAL: u16 = code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K);
const RETURN: u16 = code(libc::BPF_RET | libc::BPF_K);

#[expect(
    clippy::cast_possible_truncation,
    reason = "operation codes of linux/bpf_common.h are bytes"
)]
const fn code(parts: u32) -> u16 {
    parts as u16
}

/// The program for these three addresses.
pub(super) fn program(addresses: [u64; 3]) -> BpfProgram {
    let mut program = vec![
        statement(LOAD, NUMBER),
        // Other calls: straight to the last statement. The distance is filled in below.
        jump(u32::try_from(libc::SYS_execve).unwrap_or(u32::MAX), 0, 0),
        // An immediate of zero in memory slot 0 collects the differences.
        statement(LOAD_IMMEDIATE, 0),
        statement(STORE, 0),
    ];
    for (index, address) in (0_u32..).zip(addresses) {
        let place = FIRST_ARGUMENT + 8 * index;
        for (offset, half) in halves(address) {
            program.extend([
                statement(LOAD, place + offset),
                statement(XOR, half),
                statement(LOAD_MEMORY_X, 0),
                statement(OR_X, 0),
                statement(STORE, 0),
            ]);
        }
    }
    program.extend([
        // The accumulator holds the collected differences: none, and the call passes.
        jump(0, 1, 0),
        statement(
            RETURN,
            libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned(),
        ),
        statement(RETURN, libc::SECCOMP_RET_ALLOW),
    ]);
    // From behind the first jump to the last statement.
    program[1].jf = u8::try_from(program.len() - 3).unwrap_or(u8::MAX);
    program
}

/// The two 32-bit halves of an argument with their offsets, for this machine's byte order.
fn halves(address: u64) -> [(u32, u32); 2] {
    let bytes = address.to_ne_bytes();
    let half =
        |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    [(0, half(0)), (4, half(4))]
}

const fn statement(code: u16, k: u32) -> sock_filter {
    sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

const fn jump(k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter {
        code: JUMP_IF_EQUAL,
        jt,
        jf,
        k,
    }
}
