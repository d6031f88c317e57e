"""Attacks on the other processes of the same process namespace.

Outside they run in a process namespace of their own, on children that they
make; inside, the neighbours are workers of the same controller, the stocked
worker and the template. Signals are those that do nothing by default, so that
an attack that gets through is seen and breaks nothing else.
"""

import ctypes
import errno
import os
import signal

from probing import Refused, call, probe

SWEPT = range(1, 201)


def sweep(attack, neighbours):
    """Tries an attack on every number but the own; what it learns is who answers differently."""
    victims = []
    for _ in range(neighbours):
        child = os.fork()
        if child == 0:
            signal.pause()
            os._exit(0)
        victims.append(child)
    answers = {}
    for pid in SWEPT:
        if pid == os.getpid():
            continue
        try:
            attack(pid)
            answers.setdefault("reached", []).append(pid)
        except OSError as error:
            answers.setdefault(errno.errorcode.get(error.errno, str(error.errno)), []).append(pid)
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
        os.waitpid(victim, 0)
    if len(answers) == 1 and "reached" not in answers:
        raise Refused(next(iter(answers)))
    return {word: len(pids) for word, pids in answers.items()}


@probe
def attack_all(number, arguments, neighbours=0):
    """A raw call whose argument "pid" is every number in turn."""
    page = ctypes.create_string_buffer(4096)
    # A queued signal must not look as if the kernel sent it: si_code -1.
    information = (ctypes.c_int * 32)(0, 0, -1)
    sizes = (ctypes.c_uint64 * 2)(ctypes.addressof(page), 8)

    def attack(pid):
        values = {
            "pid": pid,
            "page": page,
            "vector": sizes,
            "self": os.getpid(),
            "-pid": -pid,
        }
        # The clock of that process's time, see clock_getcpuclockid(3).
        values |= {"clock": (~pid << 3) | 2, "information": information}
        answer = call(number, *[values.get(value, value) for value in arguments])
        # A descriptor that came of it must not fill the table.
        if number == PIDFD_OPEN:
            os.close(answer)

    return sweep(attack, neighbours)


PIDFD_OPEN = 434


@probe
def ask_capabilities(number, neighbours=0):
    """capget(2) names its process behind a pointer."""
    data = (ctypes.c_uint32 * 6)()
    return sweep(
        lambda pid: call(number, (ctypes.c_uint32 * 2)(0x20080522, pid), data),
        neighbours,
    )


@probe
def signal_group(number, whom, neighbours=0):
    """All processes that may be signalled, or the own group."""
    if neighbours and os.fork() == 0:
        signal.alarm(1)
        signal.pause()
    call(number, whom, signal.SIGURG)
    return "signalled"


@probe
def signal_by_descriptor(number):
    """F_SETOWN: the kernel signals whom one names when something arrives."""
    import socket

    left, right = socket.socketpair()
    with left, right:
        call(number, left.fileno(), 8, 1)
    return "owned"


@probe
def adopt(number):
    """A clone with a shared parent would look like a worker that the template forked."""
    child = call(number, 0x8000 | signal.SIGCHLD, 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    return child


@probe
def wait_for_others(neighbours=0):
    """waitpid of anyone: only own children are there."""
    if neighbours and os.fork() == 0:
        os._exit(0)
    return os.waitpid(-1, 0)[0]
