"""Using up what is limited. Each attack is bounded, so that it ends by itself where nothing stops it."""

import ctypes
import mmap
import os
import re
import select
import signal
import sys
import threading
import time

from probing import Refused, in_child, probe

MIB = 1 << 20


@probe
def take_memory(how, size):
    """`size` MiB, touched, in one of several ways."""
    if how == "list":
        kept = [bytearray(MIB) for _ in range(size)]
    elif how == "mapping":
        kept = mmap.mmap(-1, size * MIB)
        for offset in range(0, size * MIB, 4096):
            kept[offset] = 1
    elif how == "shared by a child":
        kept = mmap.mmap(-1, size * MIB, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)

        def touch():
            for offset in range(0, size * MIB, 4096):
                kept[offset] = 1

        in_child(touch)
    elif how == "memory file":
        kept = os.memfd_create("probe")
        for _ in range(size):
            os.write(kept, b"x" * MIB)
    elif how == "children":
        return by_children(size)
    else:
        raise AssertionError(how)
    return len(kept) if hasattr(kept, "__len__") else "taken"


def by_children(size):
    """Four children that hold a quarter each, all at the same time."""
    done, say = os.pipe()
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            kept = [bytearray(MIB) for _ in range(size // 4)]
            os.write(say, b".")
            signal.pause()
            os._exit(len(kept))
        children.append(child)
    told = 0
    try:
        while told < 4:
            if select.select([done], [], [], 0.01)[0]:
                told += len(os.read(done, 4))
            ended, status = os.waitpid(-1, os.WNOHANG)
            if ended:
                raise Refused(f"signal {status & 127}")
    finally:
        for child in children:
            try:
                os.kill(child, signal.SIGKILL)
            except OSError:
                # Inside, signals are refused, and the children end with the request.
                pass
    return "taken"


@probe
def fill_pipes(count):
    """Kernel memory: full pipes."""
    import fcntl

    filled = 0
    for _ in range(count):
        _, writer = os.pipe()
        os.set_blocking(writer, False)
        try:
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, MIB)
        except PermissionError:
            # The share of one user without privileges is used up; the pipe keeps its size.
            pass
        try:
            while True:
                filled += os.write(writer, b"x" * 65536)
        except BlockingIOError:
            pass
    return filled


@probe
def make_processes(count):
    """So many at once, each in a session of its own as far as it can."""
    children = []
    refusal = None
    for _ in range(count):
        try:
            child = os.fork()
        except OSError as error:
            refusal = error
            break
        if child == 0:
            signal.pause()
            os._exit(0)
        children.append(child)
    if refusal is None:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        return count
    raise refusal


@probe
def make_zombies(count):
    for made in range(count):
        if os.fork() == 0:
            os._exit(made & 1)
    return count


@probe
def make_threads(count):
    stop = threading.Event()
    made = []
    try:
        for _ in range(count):
            made.append(threading.Thread(target=stop.wait))
            made[-1].start()
    except RuntimeError as error:
        raise Refused(str(error)) from None
    finally:
        stop.set()
    return count


@probe
def open_many(count):
    kept = [os.dup(1) for _ in range(count)]
    for number in kept:
        os.close(number)
    return count


@probe
def never_return(how):
    """Computes for ever, each time in another place of the interpreter. Outside an alarm shows that nobody else ended it."""

    def action():
        if os.environ.get("PROBE_OUTSIDE"):
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(1)
        if how == "expression":
            re.match(r"(a+)+$", "a" * 64 + "b")
        elif how == "power":
            pow(7, 10**9)
        elif how == "native":
            ctypes.PyDLL(None).pause()
        elif how == "ignoring signals":
            for number in range(1, 65):
                try:
                    signal.signal(
                        number,
                        signal.SIG_IGN if number != signal.SIGALRM else signal.SIG_DFL,
                    )
                except (OSError, ValueError):
                    pass
            while True:
                pass
        elif how == "threads":
            sys.setswitchinterval(100)
            for _ in range(3):
                threading.Thread(target=lambda: pow(7, 10**9)).start()
        elif how == "exit":
            import atexit

            atexit.register(lambda: never_return("expression"))
            threading.Thread(target=lambda: never_return("native")).start()
            sys.exit(0)

    if not os.environ.get("PROBE_OUTSIDE"):
        action()
        while True:
            time.sleep(1)
    try:
        in_child(action)
    except Refused as end:
        if str(end) != "signal 14":
            raise
    return "not stopped"


@probe
def leave_daemon():
    """A grandchild that outlives the request, if anything can."""
    if os.fork() == 0:
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.pause()
        os._exit(0)
    os.wait()
    return "left"
