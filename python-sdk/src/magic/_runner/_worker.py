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

from magic._context import RequestContext
from magic._errors import OutputError
from magic._output import FRAME_LIMIT, encode_message, encode_output
from magic._runner._asyncio import is_imported
from magic._runner._channel import Channel, decode
from magic._runner._driver import drive
from magic._runner._failure import Author, describe
from magic._session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Any, NoReturn

    from magic._loop import ChannelLoop
    from magic._runner._entry import Entry
    from magic._runner._fork_hooks import ForkHooks

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


def rehearse(entry: Entry) -> None:
    """Runs the path of a request without the controller and without the channel."""
    message = decode(bytearray(_REHEARSAL))
    params = message["params"]
    session = Session(_Nobody(), RequestContext.from_frame(params["context"]))
    value: object = params["input"]
    if entry.is_async:
        value = _ready_loop().run_until_complete(_turn(value)) if is_imported() else drive(_step(value), _ready_loop)
    _ = session.log
    _ = _RESULT + encode_output(value) + b"}"


async def _step(value: object) -> object:
    return value


async def _turn(value: object) -> object:
    from asyncio import sleep

    await sleep(0)
    return value


class _Nobody:
    """The line of the rehearsal: it is never spoken on."""

    async def call(self, method: str, params: dict[str, object]) -> None:
        raise AssertionError("the rehearsal makes no call")

    def notify(self, method: str, params: dict[str, object]) -> None:
        raise AssertionError("the rehearsal sends nothing")


class Worker:
    """Serves the one request of this process."""

    def __init__(self, entry: Entry, author: Author, *, collects: bool, hooks: ForkHooks) -> None:
        """Made in the template, and taken into use at most once, when descriptor 3 is the channel."""
        self._entry = entry
        self._author = author
        self._collects = collects
        self._hooks = hooks
        self._channel = Channel(3)

    def run(self, *, forked: bool) -> NoReturn:
        """From the greeting to the end of the channel."""
        is_early = self._channel.greet()
        self._hooks.register()
        if forked:
            _reseed()
        if is_early:
            rehearse(self._entry)
        if self._collects:
            gc.enable()
        if is_early:
            self._channel.send(_READY % os.getpid())
        answer = self._serve()
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except BaseException:
                # The controller may have put anything in their place.
                pass
        self._channel.finish(answer)
        self._channel.wait_for_end()

    def _serve(self) -> bytes:
        """The last frame's payload, whatever happens."""
        try:
            params = self._await_execute()
            session = Session(self._channel, RequestContext.from_frame(params["context"]))
            value = self._execute(params["input"], session)
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

    def _await_execute(self) -> dict[str, Any]:
        while True:
            message = self._channel.next_frame()
            params = message.get("params")
            if message.get("method") == "execute" and isinstance(params, dict):
                return params

    def _execute(self, value: object, session: Session) -> object:
        if self._entry.is_async:
            return self._await(value, session)
        result = self._entry.call(value, session)
        if hasattr(type(result), "__await__"):
            # A plain function that hands back a coroutine, as decorators make them.
            return self._await(value, session, result)
        return result

    def _await(self, value: object, session: Session, started: Awaitable[Any] | None = None) -> object:
        async def run() -> object:
            # Inside, so that a constructor may already make tasks and calls.
            return await (started if started is not None else self._entry.call(value, session))

        if is_imported():
            return self._make_loop().run_until_complete(run())
        self._channel.attach(None)
        return drive(run(), self._make_loop)

    def _make_loop(self) -> ChannelLoop:
        loop = _ready_loop()
        loop.watch(self._channel)
        self._channel.attach(loop)
        return loop


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
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        try:
            numpy_random.seed()
        except BaseException as error:
            os.write(2, f"magic: numpy.random could not be reseeded: {type(error).__name__}\n".encode())
            os._exit(1)
