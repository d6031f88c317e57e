"""A worker's life: greet, rehearse, serve one request, wait to be killed.

The rehearsal runs the runner's own path (a frame decoded, a step of the event
loop, a value encoded) on a dummy and never touches the author's code. It makes
the pages that a request will write to the worker's own before there is a
request, which halves the time to the answer. A worker whose request waits
already goes without.

The answer leaves as soon as the controller has returned. Tasks and threads it
left behind are not waited for: they end with the process.
"""

from __future__ import annotations

import gc
import os
import sys
from _socket import AF_UNIX, SOCK_STREAM, socketpair

from magic._controller import Controller
from magic._errors import OutputError
from magic._output import FRAME_LIMIT, encode_message, encode_output
from magic._runner._asyncio import is_imported
from magic._runner._channel import Channel, decode
from magic._runner._driver import drive
from magic._runner._entry import Entry
from magic._runner._failure import Author, describe
from magic._session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Any, NoReturn, Protocol

    from magic._controller import Services
    from magic._loop import ChannelLoop
    from magic._runner._fork_hooks import ForkHooks
    from magic._session import Line as CallLine

    class Line(CallLine, Protocol):
        """What a worker serves its request on."""

        def next_frame(self) -> dict[str, Any]:
            """The next message of the supervisor."""

        def attach(self, loop: ChannelLoop | None) -> None:
            """Says that a coroutine runs, and on which event loop, if on any."""

        def finish(self, payload: bytes) -> None:
            """Sends the last message."""


__all__ = ["Worker", "rehearse"]

_REHEARSAL = (
    b'{"id":0,"method":"execute","params":{"input":{"message":"rehearsal","numbers":[1,2.5,null,true]},'
    b'"context":{"request_id":"req_00000000000000000000000000","deadline_ms":30000,'
    b'"caller":{"subject":"rehearsal","roles":["execute"]},"version":"0.0.0","controller":"Rehearsal"}}}'
)
_READY = b'{"method":"ready","params":{"pid":%d}}'
_RESULT = b'{"id":0,"result":'

# Made beforehand, for a process in which nothing more can be made.
_PLAIN = (
    b'{"id":0,"error":{"kind":"%s","exception":"%s","message":"","traceback":"","code":null,"details":null,"retriable":false}}'
)
_MEMORY = _PLAIN % (b"memory", b"MemoryError")
_UNKNOWN = _PLAIN % (b"raised", b"BaseException")

# One loop, made in the template and used by at most one request: before its
# first use it holds no descriptor, so a fork shares nothing by it.
_loop: ChannelLoop | None = None


def _ready_loop() -> ChannelLoop:
    global _loop
    if _loop is None:
        from magic._loop import ChannelLoop

        _loop = ChannelLoop()
    return _loop


def _understudy_of(entry: Entry, author: Author, line: Line) -> Worker:
    """A worker for the rehearsal: one that serves an entry point of the same form that is ours."""
    target: Any
    if isinstance(entry.target, type):
        target = _AsyncController if entry.is_async else _PlainController
    else:
        target = _async_function if entry.is_async else _plain_function
    return _Understudy(Entry(target, "rehearsal", entry.is_async, entry.takes_context), author, line)


def rehearse(entry: Entry, author: Author) -> None:
    """Serves a request of our own in the template, from the greeting to the frame that leaves."""
    near, far = socketpair(AF_UNIX, SOCK_STREAM, 0)
    channel = Channel(far.detach())
    try:
        near.sendall(b"n" + len(_REHEARSAL).to_bytes(4, "big") + _REHEARSAL)
        channel.greet()
        _understudy_of(entry, author, channel).answer()
    finally:
        channel.close()
        near.close()


class _AsyncController(Controller):
    async def execute(self, input: object) -> object:
        return await _perform(input, self)


class _PlainController(Controller):
    def execute(self, input: object) -> object:
        self.log.info("rehearsal", length=1)
        return input


async def _async_function(input: object, services: Services | None = None) -> object:
    return await _perform(input, services)


def _plain_function(input: object, services: Services | None = None) -> object:
    return input


async def _perform(value: object, services: Services | None) -> object:
    if services is not None:
        services.log.info("rehearsal", length=1)
    if is_imported():
        from asyncio import sleep

        await sleep(0)
    return value


class _Nobody:
    """The line of a rehearsal in a worker, whose own line may carry nothing of it."""

    def next_frame(self) -> dict[str, Any]:
        return decode(_REHEARSAL)

    def attach(self, loop: object) -> None:
        pass

    async def call(self, method: str, params: dict[str, object]) -> None:
        raise AssertionError("the rehearsal makes no call")

    def notify(self, method: str, params: dict[str, object]) -> None:
        encode_message({"method": method, "params": params})

    def finish(self, payload: bytes) -> None:
        pass


class Worker:
    """Serves the one request of this process."""

    def __init__(self, entry: Entry, author: Author, *, collects: bool, hooks: ForkHooks) -> None:
        """Made in the template, and taken into use at most once, when descriptor 3 is the channel."""
        self._entry = entry
        self._author = author
        self._collects = collects
        self._hooks = hooks
        self._channel = Channel(3)
        self._line: Line = self._channel
        self._understudy = _understudy_of(entry, author, _Nobody())

    def run(self, forked: bool) -> NoReturn:
        """From the greeting to the end of the channel."""
        is_early = self._channel.greet()
        if self._hooks.kept:
            self._hooks.register()
        if forked and sys.modules.get("numpy.random") is not None:
            _reseed()
        if is_early:
            self._understudy.answer()
        if self._collects:
            gc.enable()
        if is_early:
            self._channel.send(_READY % os.getpid())
        self.answer()
        self._channel.wait_for_end()

    def answer(self) -> None:
        """Serves the request that comes."""
        payload = self._serve()
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except BaseException:
                # The controller may have put anything in their place.
                pass
        self._line.finish(payload)

    def _serve(self) -> bytes:
        """The last frame's payload, whatever happens."""
        line = self._line
        entry = self._entry
        try:
            while True:
                message = line.next_frame()
                params = message.get("params")
                if message.get("method") == "execute" and isinstance(params, dict):
                    break
            value = params["input"]
            session = Session(line, params["context"])
            if entry.is_async:
                value = self._await(value, session, None)
            else:
                value = entry.call(value, session)
                if hasattr(type(value), "__await__"):
                    # A plain function that hands back a coroutine, as decorators make them.
                    value = self._await(None, session, value)
        except BaseException as error:
            return self._failure(error)
        try:
            payload = _RESULT + encode_output(value) + b"}"
            if len(payload) > FRAME_LIMIT:
                raise OutputError(f"the output has {len(payload)} bytes as JSON; the limit is {FRAME_LIMIT}")
            return payload
        except OutputError as error:
            return _error({"kind": "output", "path": error.path, "message": str(error)})
        except BaseException as error:
            return self._failure(error)

    def _failure(self, error: BaseException) -> bytes:
        try:
            return _error(describe(error, self._author))
        except BaseException:
            # No memory is left even for the description.
            return _MEMORY if isinstance(error, MemoryError) else _UNKNOWN

    def _await(self, value: object, session: Session, started: Awaitable[Any] | None) -> object:
        running = _run(self._entry, value, session, started)
        if is_imported():
            return self._make_loop().run_until_complete(running)
        self._line.attach(None)
        return drive(running, self._make_loop)

    def _make_loop(self) -> ChannelLoop:
        loop = _ready_loop()
        loop.watch(self._channel)
        self._channel.attach(loop)
        return loop


class _Understudy(Worker):
    def __init__(self, entry: Entry, author: Author, line: Line) -> None:
        self._entry = entry
        self._author = author
        self._line = line

    def _make_loop(self) -> ChannelLoop:
        # Without a channel, so that the loop is new to whom it will serve.
        return _ready_loop()


async def _run(entry: Entry, value: object, session: Session, started: Awaitable[Any] | None) -> object:
    # The constructor runs in here too, so that it may already make tasks and calls.
    return await (entry.call(value, session) if started is None else started)


def _error(error: dict[str, object]) -> bytes:
    payload = encode_message({"id": 0, "error": error})
    if len(payload) > FRAME_LIMIT:
        payload = encode_message({"id": 0, "error": {**error, "details": None, "traceback": ""}})
    return payload


def _reseed() -> None:
    """What a fork has to make different and CPython does not.

    ``random`` reseeds itself in every fork, ``secrets``, ``uuid4`` and ssl ask
    the kernel. numpy's global generator is a plain copy.
    """
    try:
        sys.modules["numpy.random"].seed()
    except BaseException as error:
        os.write(2, f"magic: numpy.random could not be reseeded: {type(error).__name__}\n".encode())
        os._exit(1)
