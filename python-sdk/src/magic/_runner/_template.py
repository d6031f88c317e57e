"""A template's life: confine, import, rehearse, freeze, then fork on order.

The control channel carries one JSON object per message, and descriptors beside
the orders that need them. The loop has to outlive every bad day of the host: a
fork that fails, a message cut short or not understood costs that order and
nothing else. The end of the channel is the end of the process, at once, since
without a supervisor nobody may be served.

Garbage collection: after the import everything alive is collected once and
then frozen (``gc.freeze``), so that no later collection in a worker writes to
the pages it shares with the template. The template itself collects no more: it
allocates nothing that lasts. A worker switches collection on again, unless the
controller had switched it off while it was imported.
"""

from __future__ import annotations

import gc
import os
import sys
from _signal import SIG_DFL, SIG_IGN, SIGCHLD, signal  # type: ignore[import-not-found,unused-ignore]
from _socket import (
    AF_UNIX,
    CMSG_SPACE,
    MSG_CMSG_CLOEXEC,
    MSG_CTRUNC,
    MSG_NOSIGNAL,
    MSG_TRUNC,
    SCM_RIGHTS,
    SOCK_SEQPACKET,
    SOL_SOCKET,
    socket,
)

from magic._json import ascii_pieces
from magic._log import safe_text
from magic._runner import _kernel
from magic._runner._channel import decode
from magic._runner._driver import close_generators
from magic._runner._entry import Entry, LoadFailure, load
from magic._runner._failure import MESSAGE_LIMIT, Author
from magic._runner._fork_hooks import ForkHooks
from magic._runner._pools import fill
from magic._runner._worker import Worker, rehearse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

__all__ = ["Template"]

CONTROL = 3
#: Bytes of one control message.
PACKET_LIMIT = 64 * 1024
_ORDER_DESCRIPTORS = 3
_DESCRIPTOR_SPACE = CMSG_SPACE(16 * 4)
#: Bytes of one order after the first.
_ORDER_LIMIT = 256
# The order that is given for every request, recognized without being read.
_FORK = b'{"type":"fork"}'
_REHEARSALS = 20
# Asked once: the first of the descriptors that cannot be open.
_NO_DESCRIPTOR = os.sysconf("SC_OPEN_MAX")
_FIRST_FOREIGN = CONTROL + 1
_READ_ONLY = os.O_RDONLY

_CUT = MSG_TRUNC | MSG_CTRUNC


def _encode(message: object) -> str:
    # ASCII only: a controller's message may hold half a surrogate pair.
    return "".join(ascii_pieces(message, 0))


class Template:
    """The state of process 1 of the sandbox."""

    def __init__(self) -> None:
        self._control = socket(AF_UNIX, SOCK_SEQPACKET, 0, CONTROL)
        self._report_exits = False
        self._enter_domain: Callable[[], None] | None = None
        self._heap_limit: int | None = None
        self._author = Author("/", [])
        self._entry: Entry | None = None
        self._hooks = ForkHooks()

    def run(self) -> None:
        """Serves until the control channel ends; never returns."""
        start = self._await_start()
        try:
            self._confine(start)
            self._load(start)
            self._settle()
        except LoadFailure as failure:
            self._give_up(failure)
        except BaseException as error:
            # Refused by the kernel, or a module that broke what the runner stands on.
            self._give_up(
                LoadFailure(
                    "import",
                    f"the template cannot start: {safe_text(error, MESSAGE_LIMIT)}",
                    exception=type(error).__name__,
                    traceback=self._author.traceback(error),
                )
            )
        self._report_loaded()
        self._obey()

    # Starting.

    def _await_start(self) -> dict[str, object]:
        while True:
            message, descriptors = self._receive()
            _close(descriptors)
            if message.get("type") == "start":
                return message

    def _confine(self, start: dict[str, object]) -> None:
        _kernel.set_undumpable()
        heap_limit = start.get("heap_limit")
        if isinstance(heap_limit, int):
            # Imported here, so that a worker does not open a file for it.
            import resource  # noqa: F401

            self._heap_limit = heap_limit
        if start.get("worker_domain") is True:
            abi = _kernel.landlock_abi()
            self._enter_domain = _kernel.worker_domain(abi)
            if abi < 6:
                sys.stderr.write(
                    f"magic: Landlock version {abi} cannot separate workers by signals and abstract "
                    "sockets (6 can); the other layers still do\n"
                )

    def _load(self, start: dict[str, object]) -> None:
        path = str(start["module"])
        listed = start.get("sys_path")
        extra = [str(item) for item in listed] if isinstance(listed, list) else []
        folder = os.path.dirname(path)
        sdk = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
        if folder not in extra:
            extra.append(folder)
        sys.path[:] = extra + [item for item in sys.path if item not in extra]
        self._author = Author(folder, [item for item in extra if item not in (folder, sdk)])

        # The pipes are line buffered before the first line of the author's code
        # runs, and take any text, also half a surrogate pair.
        for stream in (sys.stdout, sys.stderr):
            if stream is None:
                continue
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr,unused-ignore]
        myself = os.getpid()
        self._hooks.keep()
        try:
            entry = load(path, str(start.get("controller", "")), self._author)
        finally:
            # A module that forks while it is imported comes back here twice.
            if os.getpid() != myself:
                os._exit(0)
            self._hooks.stop()
        self._entry = entry
        self._report_exits = start.get("report_exits") is True

    def _settle(self) -> None:
        """Everything that is done once so that no worker has to do it."""
        assert self._entry is not None
        # Often enough for the interpreter to have adapted the code, which it
        # would otherwise write to in every worker.
        for _ in range(_REHEARSALS):
            rehearse(self._entry, self._author)
        close_generators()
        self._worker = Worker(self._entry, self._author, collects=gc.isenabled(), hooks=self._hooks)
        # Exits of workers: reported, or left for the kernel to reap.
        signal(SIGCHLD, self._on_child if self._report_exits else SIG_IGN)
        _flush()
        gc.collect()
        fill()
        gc.freeze()
        gc.disable()

    def _report_loaded(self) -> None:
        assert self._entry is not None
        self._send({"type": "loaded", "entry": self._entry.kind, "name": self._entry.name, "is_async": self._entry.is_async})

    def _give_up(self, failure: LoadFailure) -> None:
        _flush()
        report = dict(failure.report)
        # What counts is the size after escaping, which can be six times the text's.
        for name in ("traceback", "message", "hint"):
            text = str(report.get(name) or "")
            while len(_encode(report)) > PACKET_LIMIT - 1024 and text:
                text = text[len(text) // 2 + 1 :] if name == "traceback" else text[: len(text) // 2]
                report[name] = text
        self._send(report)
        os._exit(1)

    # Orders.

    def _obey(self) -> NoReturn:
        # One function with few names: every object that is touched between two
        # forks, or by a worker, is a page that has to be copied. What a worker
        # does first therefore stands here too, with names that are looked up once.
        receive, fork, close = self._control.recvmsg, os.fork, os.close
        opened, onto, close_range, devnull = os.open, os.dup2, os.closerange, os.devnull
        confine, serve = self._confine_worker, self._worker.run
        while True:
            try:
                data, ancillary, flags, _ = receive(_ORDER_LIMIT, _DESCRIPTOR_SPACE, MSG_CMSG_CLOEXEC)
            except OSError:
                os._exit(0)
            child = -1
            if data == _FORK and len(ancillary) == 1 and not flags & _CUT:
                descriptors = memoryview(ancillary[0][2]).cast("i").tolist()
                if len(descriptors) == _ORDER_DESCRIPTORS:
                    try:
                        child = fork()
                    except OSError as error:
                        # The supervisor sees the end of the channel it passed; the
                        # order's failure is its to handle.
                        _complain(error)
            else:
                descriptors = _descriptors_of(ancillary)
                if not data and not descriptors:
                    os._exit(0)
                if _is_order_to_serve(data, flags) and len(descriptors) == _ORDER_DESCRIPTORS:
                    _flush()
                    child = 0
            if child == 0:
                # Nothing may return from here into the template's loop.
                try:
                    signal(SIGCHLD, SIG_DFL)
                    channel, stdout, stderr = descriptors
                    if channel <= CONTROL or stdout <= CONTROL or stderr <= CONTROL:
                        channel, stdout, stderr = _out_of_the_way(descriptors)
                    # An open file has one set of flags and one position, so the
                    # template's own null would carry what one worker sets to all
                    # that come later. The lowest free number is the one just closed.
                    close(0)
                    opened(devnull, _READ_ONLY)
                    # The object of the control channel stays, so that its end does
                    # not close descriptor 3 a second time.
                    onto(channel, CONTROL, False)
                    onto(stdout, 1)
                    onto(stderr, 2)
                    close_range(_FIRST_FOREIGN, _NO_DESCRIPTOR)
                    confine()
                    serve(data == _FORK)
                except BaseException as error:
                    os.write(2, f"magic: the worker ended by {type(error).__name__}\n".encode())
                finally:
                    os._exit(1)
            for descriptor in descriptors:
                close(descriptor)

    def _confine_worker(self) -> None:
        try:
            if self._heap_limit is not None:
                _kernel.limit_heap(self._heap_limit)
            if self._enter_domain is not None:
                self._enter_domain()
        except (_kernel.Unconfinable, OSError, ValueError) as error:
            os.write(2, f"magic: the worker cannot confine itself: {error}\n".encode())
            os._exit(1)

    def _on_child(self, _number: int, _frame: object) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._send({"type": "exited", "pid": pid, "status": status})

    # The channel.

    def _receive(self) -> tuple[dict[str, object], list[int]]:
        while True:
            try:
                data, ancillary, flags, _ = self._control.recvmsg(PACKET_LIMIT, _DESCRIPTOR_SPACE, MSG_CMSG_CLOEXEC)
            except OSError:
                os._exit(0)
            descriptors = _descriptors_of(ancillary)
            if not data and not descriptors:
                os._exit(0)
            message = _message_of(data, flags)
            if message is not None:
                return message, descriptors
            _close(descriptors)

    def _send(self, message: dict[str, object]) -> None:
        try:
            self._control.send(_encode(message).encode("ascii"), MSG_NOSIGNAL)
        except OSError:
            os._exit(0)


def _message_of(data: bytes, flags: int) -> dict[str, object] | None:
    """The object of one packet; none for a packet that was cut or is not understood."""
    if flags & _CUT:
        return None
    try:
        return decode(data)
    except (ValueError, RecursionError):
        return None


def _is_order_to_serve(data: bytes, flags: int) -> bool:
    message = _message_of(data, flags)
    return message is not None and message.get("type") == "serve"


def _descriptors_of(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    descriptors: list[int] = []
    for level, kind, payload in ancillary:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            descriptors.extend(memoryview(payload[: len(payload) // 4 * 4]).cast("i"))
    return descriptors


def _complain(error: OSError) -> None:
    try:
        sys.stderr.write(f"magic: the template cannot fork: {error}\n")
    except BaseException:
        pass


def _flush() -> None:
    """Empties the output buffers, which every fork would otherwise copy."""
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            stream.flush()  # type: ignore[union-attr]
        except BaseException:
            pass


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        try:
            os.close(descriptor)
        except OSError:
            pass


def _out_of_the_way(descriptors: list[int]) -> list[int]:
    """The same files under numbers that nothing will be put onto.

    A module may have closed low descriptors while it was imported, and the
    passed ones then lie where they would overwrite each other. Such a low one is
    replaced by what is put onto it.
    """
    moved = []
    for descriptor in descriptors:
        while descriptor <= CONTROL:
            descriptor = os.dup(descriptor)
        moved.append(descriptor)
    return moved
