"""System calls: each number, and each use that the filter must tell from a harmless one."""

import ctypes
import errno
import os
import resource
import signal
import socket as sockets
import struct

from probing import Refused, call, error_name, in_child, libc, probe

#: Answers that mean the kernel's own code was not reached.
STOPPED = (errno.EPERM, errno.ENOSYS)


def argument(value, page):
    if value == "page":
        return page
    return os.fsencode(value) if isinstance(value, str) else value


@probe
def reach(number, arguments):
    """Succeeds when the kernel's own code was reached, whatever that thought of the arguments."""
    page = ctypes.create_string_buffer(8192)

    def action():
        try:
            return call(number, *[argument(value, page) for value in arguments])
        except OSError as error:
            if error.errno in STOPPED:
                raise
            return error_name(error)

    return in_child(action)


@probe
def answer(number, arguments):
    """Succeeds when the call itself does."""
    page = ctypes.create_string_buffer(8192)
    return in_child(lambda: call(number, *[argument(value, page) for value in arguments]))


@probe
def clone(number, flags):
    """A child in a new namespace, which ends at once."""

    def action():
        child = call(number, flags | signal.SIGCHLD, 0, 0, 0, 0)
        if child == 0:
            os._exit(0)
        return os.waitpid(child, 0)[1]

    return in_child(action)


@probe
def sweep(numbers, seconds):
    """Calls every number with zeros in a process of its own; tells each answer."""
    answers = {}
    for number in numbers:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            # A call that waits is ended, and that it waited is its answer.
            signal.setitimer(signal.ITIMER_REAL, seconds)
            ctypes.set_errno(0)
            result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(0)] * 6)
            failed = ctypes.get_errno() if result == -1 else 0
            os.write(writer, errno.errorcode.get(failed, "done").encode())
            os._exit(0)
        os.close(writer)
        said = os.read(reader, 64).decode()
        os.close(reader)
        status = os.waitpid(child, 0)[1]
        answers[number] = said or (f"signal {status & 127}" if status & 127 else "ended")
    import json

    return json.dumps(answers)


@probe
def sweep_unknown(numbers):
    """Numbers that no kernel knows, called in place."""
    answered = {}
    for number in numbers:
        try:
            call(number, 0, 0, 0, 0, 0, 0)
            answered[number] = "done"
        except OSError as error:
            if error.errno != errno.ENOSYS:
                answered[number] = error_name(error)
    return answered


@probe
def make_sockets():
    """Every family, every kind."""
    made, refusals = [], set()
    for family in range(46):
        for kind in (
            sockets.SOCK_STREAM,
            sockets.SOCK_DGRAM,
            sockets.SOCK_RAW,
            sockets.SOCK_SEQPACKET,
        ):
            number = libc.socket(family, kind, 0)
            if number >= 0:
                made.append(family)
                os.close(number)
            else:
                refusals.add(errno.errorcode[ctypes.get_errno()])
    if not made:
        raise Refused(" ".join(sorted(refusals)))
    return sorted(set(made))


@probe
def socket_pair(family, kind):
    pair = (ctypes.c_int * 2)()
    if libc.socketpair(family, kind, 0, pair) != 0:
        raise OSError(ctypes.get_errno(), "")
    os.write(pair[0], b"through")
    return os.read(pair[1], 7).decode()


@probe
def name_a_pair():
    """A socket that exists could be given a name."""
    left, right = sockets.socketpair()
    with left, right:
        left.bind("\0probe")
    return "bound"


@probe
def ordinary_messages():
    """Control for the three below."""
    left, right = sockets.socketpair()
    with left, right:
        left.sendall(b"one")
        first = right.recv(3)
        left.sendmsg([b"two"])
        return (first + right.recvmsg(3)[0]).decode()


@probe
def send_out_of_band():
    left, right = sockets.socketpair()
    with left, right:
        return left.send(b"x", sockets.MSG_OOB)


@probe
def send_message_out_of_band():
    left, right = sockets.socketpair()
    with left, right:
        return left.sendmsg([b"x"], [], sockets.MSG_OOB)


@probe
def receive_out_of_band():
    """Outside EINVAL: the kernel looked, and nothing had been sent."""
    left, right = sockets.socketpair()
    with left, right:
        try:
            return right.recv(1, sockets.MSG_OOB)
        except OSError as error:
            if error.errno == errno.EINVAL:
                return "none there"
            raise


@probe
def ordinary_options():
    """Control for the three below: a socket made of a descriptor asks three options."""
    left, right = sockets.socketpair()
    with right, sockets.socket(fileno=left.detach()) as found:
        found.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, 8192)
        return [found.family, found.type, found.getsockopt(sockets.SOL_SOCKET, sockets.SO_ERROR)]


@probe
def handle_on_peer():
    left, right = sockets.socketpair()
    with left, right:
        # SO_PEERPIDFD
        handle = left.getsockopt(sockets.SOL_SOCKET, 77)
    os.close(handle)
    return handle


@probe
def handles_with_messages():
    left, right = sockets.socketpair()
    with left, right:
        # SO_PASSPIDFD
        left.setsockopt(sockets.SOL_SOCKET, 76, 1)
    return "set"


@probe
def attach_filter():
    """A program of one instruction, which lets everything pass."""
    code = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0xFFFFFFFF))
    left, right = sockets.socketpair()
    with left, right:
        # SO_ATTACH_FILTER
        left.setsockopt(sockets.SOL_SOCKET, 26, struct.pack("HxxxxxxQ", 1, ctypes.addressof(code)))
    return "attached"


@probe
def ordinary_reading():
    """Control for the two below."""
    with open(os.__file__, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        return os.preadv(file.fileno(), [bytearray(64)], 0)


@probe
def ask_the_cache():
    with open(os.__file__, "rb") as file:
        # Outside this makes sure that the answer is yes.
        os.preadv(file.fileno(), [bytearray(64)], 0)
        return os.preadv(file.fileno(), [bytearray(64)], 0, os.RWF_NOWAIT)


@probe
def empty_the_cache():
    with open(os.__file__, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return "dropped"


@probe
def shared_memory_file():
    import _posixshmem

    number = _posixshmem.shm_open("/probe", os.O_CREAT | os.O_RDWR, mode=0o600)
    os.close(number)
    _posixshmem.shm_unlink("/probe")
    return "made"


@probe
def raise_limit(which):
    """The soft limit by one; inside, soft and hard are the same."""
    limit = getattr(resource, which)
    soft, hard = resource.getrlimit(limit)
    if soft == resource.RLIM_INFINITY:
        soft = 1 << 40
        resource.setrlimit(limit, (soft, hard))
    try:
        resource.setrlimit(
            limit,
            (soft + 1, hard if hard == resource.RLIM_INFINITY else max(hard, soft + 1)),
        )
    except ValueError as error:
        raise Refused(str(error)) from None
    return soft + 1


@probe
def lower_limit(which):
    """Control for the above: the call itself is there, and lowering works."""
    limit = getattr(resource, which)
    soft = resource.getrlimit(limit)[0]
    resource.setrlimit(limit, (soft - 1, soft - 1))
    return soft - 1


@probe
def regain_privileges(number):
    """no_new_privs cannot be taken back, on any kernel: EINVAL outside as well, so the flag itself is read."""
    value = call(number, 39, 0, 0, 0, 0)
    if value == 1:
        raise Refused("no new privileges")
    return value
