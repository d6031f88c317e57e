"""What every probe stands on.

A probe is a function that does one forbidden thing. It returns what it got, or
raises: an OSError with the kernel's answer, or Refused with a word of its own.
Any other exception is a mistake in the probe and must not look like a refusal.

The same files are run outside the sandbox, where every probe must succeed, and
inside as part of a controller. Outside, each probe has a process of its own.
"""

import ctypes
import errno
import json
import os
import signal
import sys

libc = ctypes.CDLL(None, use_errno=True)
PROBES = {}
#: Seconds that a probe has outside.
PATIENCE = 30


class Refused(Exception):
    """The attempt failed in a way that has no error number."""


def probe(function):
    """Registers a probe under its own name."""
    PROBES[function.__name__] = function
    return function


def call(number, *arguments):
    """A raw system call; integers are passed as long, buffers by address."""
    ctypes.set_errno(0)
    converted = [a if isinstance(a, bytes | ctypes.Array | type(None)) else ctypes.c_long(a) for a in arguments]
    answer = libc.syscall(ctypes.c_long(number), *converted)
    if answer == -1:
        failure = ctypes.get_errno()
        raise OSError(failure, os.strerror(failure))
    return answer


def error_name(error):
    """EPERM and its like."""
    return errno.errorcode.get(error.errno, str(error.errno))


def in_child(action):
    """Runs an action in a fork; its refusal is raised here, its death too.

    For attempts that would end or replace the process.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        said = None
        try:
            said = ["ok", str(action())]
        except OSError as error:
            said = ["error", error.errno]
        finally:
            # Whatever else was raised is told as well, and goes no further.
            said = said or ["refused", repr(sys.exc_info()[1])]
            os.write(writer, json.dumps(said).encode())
            os._exit(0)
    os.close(writer)
    said = b""
    while piece := os.read(reader, 65536):
        said += piece
    os.close(reader)
    status = os.waitpid(child, 0)[1]
    if not said:
        if status:
            raise Refused(f"signal {status & 127}" if status & 127 else f"status {status >> 8}")
        return "replaced"
    kind, value = json.loads(said)
    if kind == "error":
        raise OSError(value, os.strerror(value))
    if kind == "refused":
        raise Refused(value)
    return value


@probe
def hold(name):
    """Stays until the client goes away; the host finds the process by this name."""
    libc.prctl(15, name.encode())
    while True:
        signal.pause()


def attempt(name, arguments):
    """Runs one probe and reports."""
    try:
        return {"succeeded": True, "detail": str(PROBES[name](**arguments))}
    except OSError as error:
        return {"succeeded": False, "detail": error_name(error)}
    except Refused as refusal:
        return {"succeeded": False, "detail": str(refusal)}


def outside(orders):
    """Runs probes outside the sandbox, each in a process of its own."""
    for name, arguments in orders:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            signal.alarm(PATIENCE)
            try:
                os.write(writer, json.dumps(attempt(name, arguments)).encode())
            finally:
                if sys.exc_info()[0]:
                    sys.excepthook(*sys.exc_info())
                os._exit(1)
        os.close(writer)
        said = b""
        while piece := os.read(reader, 65536):
            said += piece
        os.close(reader)
        status = os.waitpid(child, 0)[1]
        if not said:
            how = f"signal {status & 127}" if status & 127 else f"status {status >> 8}"
            said = json.dumps({"succeeded": False, "detail": how}).encode()
        sys.stdout.write(said.decode() + "\n")
    sys.stdout.flush()
