"""What a request could leave behind for a later one, and what two must not have in common."""

import ctypes
import fcntl
import gc
import importlib.util
import json
import locale
import os
import random
import secrets
import signal
import ssl
import sys
import tempfile
import uuid

from probing import Refused, probe

if importlib.util.find_spec("numpy"):
    import numpy
else:
    numpy = None

SHARED = {"seen": []}
# Used before the fork, so that a copy of its state would be noticed.
random.random()
if numpy:
    numpy.random.random()


class Marked:
    value = "clean"


@probe
def draw():
    """Values that no two processes may have in common."""
    drawn = {
        "random": random.random(),
        "integer": random.getrandbits(128),
        "uuid": uuid.uuid4().hex,
        "uuid of time": uuid.uuid1().hex,
        "secret": secrets.token_hex(),
        "system": os.urandom(16).hex(),
        "openssl": ssl.RAND_bytes(16).hex(),
        "temporary name": next(tempfile._get_candidate_names()),
    }
    if numpy:
        drawn["numpy"] = float(numpy.random.random())
        drawn["numpy generator"] = float(numpy.random.default_rng().random())
    return json.dumps(drawn)


@probe
def layout():
    """Hash seed, and where libraries, heap and stack lie."""
    libc = ctypes.CDLL(None)
    libc.sbrk.restype = ctypes.c_void_p
    here = ctypes.c_int()
    return json.dumps(
        {
            "hash": hash("magic"),
            "library": ctypes.cast(libc.printf, ctypes.c_void_p).value,
            "heap": libc.sbrk(0) >> 12,
            "object": id(SHARED),
            "local": ctypes.addressof(here),
        }
    )


def state():
    return {
        "global": SHARED["seen"][:],
        "class": Marked.value,
        "variable": os.environ.get("PROBE_MARK"),
        "folder": os.getcwd(),
        "mask": os.umask(0o77),
        "handler": signal.getsignal(signal.SIGUSR1) is not signal.SIG_DFL,
        "path": "/probe" in sys.path,
        "module": "probe_module" in sys.modules,
        "function": json.dumps.__name__,
        "builtin": print.__name__,
        "recursion": sys.getrecursionlimit() == 12345,
        "locale": locale.setlocale(locale.LC_NUMERIC),
        "collector": gc.get_threshold()[0] == 7,
        "timer": signal.getitimer(signal.ITIMER_REAL)[0] > 0,
        "descriptor": sum(1 for number in range(3, 300) if is_open(number)),
        "null": fcntl.fcntl(0, fcntl.F_GETFL),
        "name": thread_name(),
        "limit": __import__("resource").getrlimit(__import__("resource").RLIMIT_NOFILE)[0] == 77,
    }


def is_open(number):
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def thread_name():
    name = ctypes.create_string_buffer(16)
    ctypes.CDLL(None).prctl(16, name)
    return name.value.decode()


CLEAN = json.dumps(state(), sort_keys=True)


@probe
def pollute():
    import builtins
    import resource
    import types

    SHARED["seen"].append("mark")
    Marked.value = "marked"
    os.environ["PROBE_MARK"] = "mark"
    os.chdir("/usr")
    os.umask(0)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    sys.path.append("/probe")
    sys.modules["probe_module"] = types.ModuleType("probe_module")
    locale.setlocale(locale.LC_ALL, "C")
    gc.set_threshold(7)
    signal.setitimer(signal.ITIMER_REAL, 1000)
    os.pipe()
    fcntl.fcntl(0, fcntl.F_SETFL, os.O_NONBLOCK | os.O_APPEND)
    ctypes.CDLL(None).prctl(15, b"marked")
    resource.setrlimit(resource.RLIMIT_NOFILE, (77, 77))
    sys.setrecursionlimit(12345)
    builtins.print = lambda *_: None

    def marked(value, **_):
        return str(value)

    json.dumps, real = marked, json.dumps
    json.real = real
    return "polluted"


@probe
def observe(pollute_first=False):
    """Succeeds when something of an earlier request is seen."""
    if pollute_first:
        PROBES_POLLUTE()
    now = state()
    text = getattr(json, "real", json.dumps)(now, sort_keys=True)
    if text == CLEAN:
        raise Refused("clean")
    clean = json.loads(CLEAN)
    return {key: value for key, value in now.items() if clean[key] != value}


PROBES_POLLUTE = pollute


@probe
def die():
    ctypes.string_at(0)


@probe
def number():
    return os.getpid()
