"""Kernel calls that the standard library has no function for, through ctypes.

ctypes is an optional part of CPython. It is loaded before anything else, so
that a build without it fails with one clear message, not in a worker.

Sources: prctl(2) PR_SET_DUMPABLE; landlock(7) and
include/uapi/linux/landlock.h for the numbers below.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["Unconfinable", "landlock_abi", "limit_heap", "set_undumpable", "worker_domain"]

PR_SET_DUMPABLE = 4

# The three calls were added together after the numbers of x86_64 and aarch64
# had been unified, so both use these.
SYS_LANDLOCK_CREATE_RULESET = 444
SYS_LANDLOCK_RESTRICT_SELF = 446
LANDLOCK_CREATE_RULESET_VERSION = 1

# Rights over files, by bit: 0 execute, 1 write, 2 read a file, 3 read a
# directory, 4..12 remove and make; then one bit per later version.
_READ_FILE = 1 << 2
_READ_DIRECTORY = 1 << 3
_FILE_RIGHTS_BY_ABI = ((1, 0x1FFF), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15))
# Bind and connect over TCP, since version 4.
_NETWORK_RIGHTS = 0b11
# Abstract unix sockets and signals, since version 6.
_SCOPES = 0b11


class Unconfinable(Exception):
    """A kernel call failed that the start message had asked for."""


def _library() -> tuple[Any, Any]:
    try:
        import ctypes
    except ImportError as error:
        raise Unconfinable(
            f"this Python was built without ctypes ({error}): install libffi's headers and rebuild it, "
            "or point the runtime at another interpreter"
        ) from None
    return ctypes, ctypes.CDLL(None, use_errno=True)


def set_undumpable() -> None:
    """Keeps other processes of the same uid from reading this one's memory; forks inherit it."""
    ctypes, libc = _library()
    if libc.prctl(PR_SET_DUMPABLE, ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
        raise Unconfinable(f"prctl(PR_SET_DUMPABLE, 0): {os.strerror(ctypes.get_errno())}")


def landlock_abi() -> int:
    """The kernel's Landlock version, 0 when there is none."""
    ctypes, libc = _library()
    answer = libc.syscall(
        ctypes.c_long(SYS_LANDLOCK_CREATE_RULESET),
        ctypes.c_void_p(None),
        ctypes.c_size_t(0),
        ctypes.c_uint32(LANDLOCK_CREATE_RULESET_VERSION),
    )
    return max(0, int(answer))


def worker_domain(abi: int) -> Callable[[], None]:
    """Prepares a function that puts the calling thread into a Landlock domain of its own.

    Two workers of one template sit in sibling domains: with version 6 neither
    may signal the other nor reach its abstract sockets. The domain has no
    rules, so whatever right it handles is gone; reading is not handled here
    and stays what the template's own domain allows.

    The arguments are made here, in the template: what a worker need not
    allocate are pages that it need not copy.
    """
    if abi < 1:
        return lambda: None
    ctypes, libc = _library()
    rights = 0
    for since, bits in _FILE_RIGHTS_BY_ABI:
        if abi >= since:
            rights |= bits
    rights &= ~(_READ_FILE | _READ_DIRECTORY)
    words = [rights]
    if abi >= 4:
        words.append(_NETWORK_RIGHTS)
    if abi >= 6:
        words.append(_SCOPES)
    # The structure has only grown by 64-bit words at its end; an older kernel
    # is handed the words it knows.
    attributes = (ctypes.c_uint64 * len(words))(*words)
    create = (
        ctypes.c_long(SYS_LANDLOCK_CREATE_RULESET),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
        ctypes.c_uint32(0),
    )
    number = ctypes.c_long(SYS_LANDLOCK_RESTRICT_SELF)
    flags = ctypes.c_uint32(0)
    syscall = libc.syscall
    errno = ctypes.get_errno
    # Keeping the error number for every call costs a worker pages, so the
    # calls are made without, and once more with it only if they fail.
    quick = ctypes.PyDLL(None).syscall
    close = os.close

    def enter() -> None:
        ruleset = quick(*create)
        if ruleset >= 0:
            result = quick(number, ruleset, flags)
            close(ruleset)
            if result == 0:
                return
        ruleset = syscall(*create)
        if ruleset < 0:
            raise Unconfinable(f"landlock_create_ruleset: {os.strerror(errno())}")
        result = syscall(number, ruleset, flags)
        failure = errno()
        close(ruleset)
        if result != 0:
            raise Unconfinable(f"landlock_restrict_self: {os.strerror(failure)}")

    return enter


def limit_heap(limit: int) -> None:
    """Bounds private writable memory, in bytes, where no memory cgroup does it (getrlimit(2), RLIMIT_DATA)."""
    import resource

    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
