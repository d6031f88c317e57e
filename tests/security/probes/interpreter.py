"""What hostile Python tries from within the language, and every way to start a program."""

import ctypes
import gc
import hashlib
import os
import re
import sys

from probing import Refused, call, in_child, libc, probe


@probe
def walk_to_popen(program):
    """The classic: from an empty tuple to every class, among them the one that starts programs."""
    import subprocess  # noqa: F401

    found = [().__class__.__base__]
    for known in found:
        if known.__name__ == "Popen":
            return known(program).wait()
        found.extend(k for k in type.__subclasses__(known) if k not in found)
    raise Refused("no such class")


@probe
def replace_program(program):
    return in_child(lambda: os.execv(program[0], program))


@probe
def replace_program_by_descriptor(program):
    return in_child(lambda: os.execve(os.open(program[0], os.O_RDONLY), program, {}))


@probe
def spawn_program(program):
    return os.waitpid(os.posix_spawn(program[0], program, {}), 0)[1]


@probe
def run_in_shell():
    status = os.system("exit 0")
    if status:
        raise Refused(f"status {status >> 8}")
    return "ran"


@probe
def start_through_loader(program):
    loader = next(
        path
        for path in (
            "/lib64/ld-linux-x86-64.so.2",
            "/lib/ld-linux-aarch64.so.1",
            "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
        )
        if os.path.exists(path)
    )
    return in_child(lambda: os.execv(loader, [loader, *program]))


@probe
def execute_memory(program):
    def action():
        memory = os.memfd_create("program")
        with open(program[0], "rb") as file:
            os.write(memory, file.read())
        os.execve(memory, program, {})

    return in_child(action)


@probe
def execute_at(program, number):
    """execveat(2) with an empty path and a descriptor."""
    arguments = (ctypes.c_char_p * (len(program) + 1))(*[word.encode() for word in program], None)
    environment = (ctypes.c_char_p * 1)(None)

    def action():
        call(
            number,
            os.open(program[0], os.O_RDONLY),
            b"",
            arguments,
            environment,
            0x1000,
        )

    return in_child(action)


@probe
def guess_addresses(program, number):
    """execve(2) with arguments at many addresses: the one allowed call had addresses of its own."""
    arguments = (ctypes.c_char_p * (len(program) + 1))(*[word.encode() for word in program], None)
    environment = (ctypes.c_char_p * 1)(None)
    path = ctypes.create_string_buffer(program[0].encode())
    return in_child(lambda: call(number, path, arguments, environment))


@probe
def read_variable(name):
    if name not in os.environ:
        raise Refused("no such variable")
    return os.environ[name]


@probe
def all_variables():
    return sorted(os.environ.items())


CANARY = re.compile(b"canary-[0-9a-f]{32}")


def judge(text, digests, found):
    for match in CANARY.findall(text):
        if hashlib.sha256(match).hexdigest() in digests:
            found.add(match.decode())


@probe
def search_objects(digests, plant=None):
    """Looks for somebody's data among all objects, frames and generators.

    The data is named by its digest, so that the search cannot find itself.
    """
    planted = [plant] if plant else []
    found = set()
    frame = sys._getframe()
    places = [planted, *gc.get_objects()]
    while frame:
        places.append(frame.f_locals)
        places.append(frame.f_globals)
        frame = frame.f_back
    for place in places:
        for thing in gc.get_referents(place) if not isinstance(place, list) else place:
            if isinstance(thing, str) and len(thing) < 1 << 20:
                judge(thing.encode("utf-8", "replace"), digests, found)
            elif isinstance(thing, bytes | bytearray) and len(thing) < 1 << 20:
                judge(bytes(thing), digests, found)
    if not found:
        raise Refused(f"not found among {min(len(places), 1000)} objects")
    return found


@probe
def search_memory(digests, plant=None):
    """Reads its own memory page by page, freed pages included, without asking the kernel for a map.

    write(2) of a page that is not there answers EFAULT, so nothing crashes.
    """
    planted = bytearray(plant.encode()) if plant else None
    reader, writer = os.pipe()
    found, pages = set(), 0
    libc.sbrk.restype = ctypes.c_void_p
    libc.write.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
    heap = libc.sbrk(0)
    here = id(object())
    spans = [(heap - (24 << 20), heap), (here - (24 << 20), here + (24 << 20))]
    if planted:
        address = ctypes.addressof(ctypes.c_char.from_buffer(planted))
        spans.append((address - 4096, address + 8192))
    for start, end in spans:
        for address in range(start & ~4095, end, 4096):
            if libc.write(writer, address, 4096) == 4096:
                judge(os.read(reader, 4096), digests, found)
                pages += 1
    if not found:
        if pages < 100:
            raise AssertionError(f"only {pages} pages were readable")
        raise Refused("not found")
    return found


@probe
def nest_regular_expression():
    re.compile("(" * 100_000)
    return "compiled"


@probe
def crash(how):
    """Ends the interpreter by its own means; outside and inside alike."""
    if how == "null":
        ctypes.string_at(0)
    elif how == "bytecode":
        code = (lambda: None).__code__.replace(co_code=b"d\x64\x00\x00" * 8, co_consts=())
        type(crash)(code, {})()
        ctypes.string_at(0)
    elif how == "free":
        libc.free(ctypes.c_void_p(id(how) + 8))
        ctypes.string_at(0)
    elif how == "stack":
        sys.setrecursionlimit(10**9)

        class Endless:
            def __repr__(self):
                return repr(self)

        repr(Endless())
    elif how == "jump":
        ctypes.CFUNCTYPE(None)(16)()
    return "survived"
