"""What the kernel shows of itself and of others: /proc, /sys, /dev, terminals."""

import ctypes
import os

from probing import call, probe


@probe
def look(path):
    os.lstat(path)
    return "there"


@probe
def open_control_group():
    """The file through which a process could leave its group, opened and not written."""
    with open("/proc/self/cgroup") as file:
        lines = [line.rstrip("\n").split(":", 2) for line in file]
    for _, controllers, path in lines:
        for mount in (f"/sys/fs/cgroup/{controllers}", "/sys/fs/cgroup"):
            name = f"{mount}{path}/cgroup.procs"
            if os.path.exists(name):
                os.close(os.open(name, os.O_WRONLY))
                return name
    raise FileNotFoundError(2, "no group")


@probe
def open_terminal():
    leader, follower = os.openpty()
    os.close(leader)
    os.close(follower)
    return "opened"


@probe
def type_into_terminal():
    """TIOCSTI on a controlling terminal of one's own."""
    import fcntl
    import termios

    from probing import in_child

    def action():
        leader, follower = os.openpty()
        os.setsid()
        fcntl.ioctl(follower, termios.TIOCSCTTY, 0)
        fcntl.ioctl(follower, termios.TIOCSTI, b"x")
        return leader

    return in_child(action)


@probe
def ask_descriptor(number, request):
    """An ioctl on standard output: refused by number inside, by kind of file outside."""
    try:
        call(number, 1, request, ctypes.create_string_buffer(64))
    except OSError as error:
        if error.errno in (1, 38):
            raise
    return "reached"


@probe
def kernel_log(number):
    """syslog(2), size of the kernel's buffer."""
    return call(number, 10, None, 0)
