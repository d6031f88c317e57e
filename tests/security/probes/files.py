"""Reading what is not shown and writing anywhere."""

import ctypes
import os
import stat
import sys

from probing import Refused, call, probe


@probe
def read(path):
    if os.path.isdir(path):
        return len(os.listdir(path))
    with open(path, "rb") as file:
        return len(file.read(1))


@probe
def look_at(path):
    return stat.filemode(os.lstat(path).st_mode)


def made(path, make, remove=os.unlink):
    make(path)
    remove(path)
    return "made"


@probe
def make_file(folder):
    return made(
        folder + "/probe",
        lambda path: os.close(os.open(path, os.O_CREAT | os.O_WRONLY)),
    )


@probe
def make_directory(folder):
    return made(folder + "/probe", os.mkdir, os.rmdir)


@probe
def make_link(folder):
    return made(folder + "/probe", lambda path: os.symlink("/etc/passwd", path))


@probe
def make_hard_link(folder, source):
    return made(folder + "/probe", lambda path: os.link(source, path))


@probe
def make_pipe(folder):
    return made(folder + "/probe", os.mkfifo)


@probe
def make_device(folder):
    return made(
        folder + "/probe",
        lambda path: os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3)),
    )


@probe
def make_nameless_file(folder):
    os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY))
    return "made"


@probe
def make_socket(folder):
    import socket

    with socket.socket(socket.AF_UNIX) as listener:
        return made(folder + "/probe", listener.bind)


@probe
def open_to_write(path):
    os.close(os.open(path, os.O_WRONLY))
    return "opened"


@probe
def truncate(path):
    os.truncate(path, os.stat(path).st_size)
    return "truncated"


@probe
def change_mode(path, mode=0o4755):
    os.chmod(path, mode)
    return "changed"


@probe
def change_owner(path):
    os.chown(path, os.getuid(), os.getgid())
    return "changed"


@probe
def change_times(path):
    os.utime(path)
    return "changed"


@probe
def set_attribute(path):
    os.setxattr(path, "trusted.probe", b"1")
    return "set"


@probe
def rename(path):
    os.rename(path, path + ".probe")
    os.rename(path + ".probe", path)
    return "renamed"


@probe
def exchange(path, other, number):
    """renameat2(2) with RENAME_EXCHANGE."""
    call(number, -100, os.fsencode(path), -100, os.fsencode(other), 2)
    call(number, -100, os.fsencode(path), -100, os.fsencode(other), 2)
    return "exchanged"


@probe
def remove(path):
    os.unlink(path)
    return "removed"


@probe
def open_beneath(path, number):
    """openat2(2), whose arguments lie where a filter cannot look."""
    how = (ctypes.c_uint64 * 3)(os.O_RDONLY, 0, 0)
    os.close(call(number, -100, os.fsencode(path), how, 24))
    return "opened"


@probe
def handle_of(path, number):
    """name_to_handle_at(2): a name for a file that needs no path."""
    handle = ctypes.create_string_buffer(8 + 128)
    ctypes.cast(handle, ctypes.POINTER(ctypes.c_uint32))[0] = 128
    call(number, -100, os.fsencode(path), handle, ctypes.create_string_buffer(4), 0)
    return "named"


@probe
def write_anywhere(roots):
    """Opens every file below the roots for writing, and makes a file in every directory.

    Without roots: the interpreter's, its import path, and the sandbox's own.
    """
    roots = roots or {
        *sys.path,
        os.path.dirname(os.__file__),
        sys.prefix,
        "/magic/sdk",
        "/magic/controller",
        "/tmp",
        "/dev",
    }
    looked = written = 0
    for root in roots:
        for folder, _, names in os.walk(root):
            for path, flags in [(os.path.join(folder, name), 0) for name in names] + [(folder + "/probe", os.O_CREAT)]:
                looked += 1
                try:
                    os.close(os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | flags))
                    written += 1
                except OSError:
                    pass
    if not written:
        raise Refused(f"nothing of {looked // 100 * 100} or more")
    return f"{written} of {looked}"


@probe
def lock(path, how):
    """A lock, or a question about locks, on a file that others have open as well."""
    import fcntl
    import struct

    file = os.open(path, os.O_RDONLY)
    record = struct.pack("hhqqi", fcntl.F_RDLCK, os.SEEK_SET, 0, 1, 0)
    if how == "whole":
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    elif how == "record":
        fcntl.fcntl(file, fcntl.F_SETLK, record)
    elif how == "open file":
        fcntl.fcntl(file, 37, record)
    elif how == "asking":
        fcntl.fcntl(file, fcntl.F_GETLK, record)
    elif how == "lease":
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    os.close(file)
    return "locked"


@probe
def descriptors():
    """What is open, as (number, kind, access)."""
    import fcntl

    found = []
    for number in range(4096):
        try:
            status = os.fstat(number)
        except OSError:
            continue
        access = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE
        found.append(f"{number} {stat.filemode(status.st_mode)[0]} {access}")
    return ", ".join(found)
