"""Tries to leave the sandbox and tells how each attempt was refused.

Everything here works for an ordinary program outside. Nothing is changed by an
attempt that succeeds: what is opened is closed, who is made exits at once.
"""

import ctypes
import errno
import json
import os
import socket

libc = ctypes.CDLL(None, use_errno=True)


def call(name, *arguments):
    if getattr(libc, name)(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def replace_program():
    os.execv("/magic/none", ["none"])


def read_host_file():
    for path in ("/etc/shadow", "/etc/hostname", "/root", "/home", "/proc/self/status", "/sys"):
        try:
            os.close(os.open(path, os.O_RDONLY))
            return
        except OSError as error:
            last = error
    raise last


def write_file():
    for folder in ("/", "/tmp", "/dev", "/dev/shm", "/var/tmp", "/magic", "/magic/sdk", "/etc"):
        try:
            path = folder + "/self-test"
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
            os.unlink(path)
            return
        except OSError as error:
            last = error
    raise last


def see_a_process():
    # Process 1 is this very program: a signal to itself must be refused too,
    # since one number cannot be told from another inside a filter.
    os.kill(1, 0)


CLONE_NEWUSER, PTRACE_TRACEME, MS_BIND = 0x10000000, 0, 4096

ATTEMPTS = {
    "execute a program": replace_program,
    "read a file of the host": read_host_file,
    "write a file": write_file,
    "make an internet socket": lambda: socket.socket(socket.AF_INET).close(),
    "make a unix socket": lambda: socket.socket(socket.AF_UNIX).close(),
    "make a netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(),
    "make a user namespace": lambda: call("unshare", CLONE_NEWUSER),
    "mount": lambda: call("mount", b"/", b"/tmp", None, MS_BIND, None),
    "become another user": lambda: os.setuid(0),
    "signal a process": see_a_process,
    "make shared memory that outlives the process": lambda: call("shmget", 0, 4096, 0o1600),
    "make a message queue": lambda: call("msgget", 0, 0o1600),
    "change the host name": lambda: socket.sethostname("self-test"),
    "raise a limit": lambda: __import__("resource").setrlimit(__import__("resource").RLIMIT_NOFILE, (4096, 4096)),
}


def outcome(attempt):
    try:
        attempt()
    except OSError as error:
        # Execution must be refused for the right reason: that the file is
        # missing would say nothing.
        refused = not (attempt is replace_program and error.errno == errno.ENOENT)
        return refused, errno.errorcode.get(error.errno, str(error.errno))
    except ValueError as error:
        return True, str(error)
    return False, "it worked"


results = []
for name, attempt in ATTEMPTS.items():
    refused, detail = outcome(attempt)
    results.append({"name": name, "refused": refused, "detail": detail})
print(json.dumps(results))
