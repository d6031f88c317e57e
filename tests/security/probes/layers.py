"""What single layers hide."""

import ctypes
import os

from probing import Refused, probe


@probe
def see_host_name():
    name = os.uname().nodename
    if name == "controller":
        raise Refused(name)
    return name


@probe
def see_host_user():
    if os.getuid() == 1000:
        raise Refused("1000")
    return os.getuid()


@probe
def see_bounding_set():
    """PR_CAPBSET_READ of CAP_SYS_ADMIN."""
    if ctypes.CDLL(None).prctl(23, 21, 0, 0, 0) != 1:
        raise Refused("empty")
    return "there"
