"""The worker's channel: frames of a length and a JSON object over a stream socket.

The supervisor may be answering while the worker is asking, so a worker that
blocks in a write could wait for a supervisor that waits for it. Writes
therefore never block while the event loop runs: what does not fit is kept and
sent when the loop's poll says so. Only where no loop turns (controllers without
asyncio, other threads, the last frame) does a write wait, and the main thread
goes on reading meanwhile. Where no loop turns an answer is waited for in the
call itself, since nothing else could happen in the meantime.

A frame larger than the limit ends the process: after it, nobody knows where
the next one begins.
"""

from __future__ import annotations

import os
import select
from _socket import AF_UNIX, MSG_DONTWAIT, MSG_NOSIGNAL, SOCK_STREAM, socket
from _thread import RLock, get_ident

from magic._errors import MagicError, OutputError, error_from_answer
from magic._json import parse
from magic._output import FRAME_LIMIT, encode_message, encode_output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Coroutine
    from typing import Any, NoReturn

    from magic._loop import ChannelLoop

__all__ = ["Channel", "decode"]

# Small enough for the allocator's heap: a larger buffer is a mapping made and
# removed for every read.
_PIECE = 64 * 1024
#: Bytes kept waiting before even the event loop's thread waits for the supervisor to read.
_KEPT = 1024 * 1024

_NOW = MSG_DONTWAIT | MSG_NOSIGNAL


def decode(payload: bytes | bytearray) -> dict[str, Any]:
    """One frame's object."""
    message = parse(payload.decode("utf-8"))
    if not isinstance(message, dict):
        raise ValueError("a frame is not an object")
    return message


class Channel:
    """One request's line to the supervisor, on one descriptor."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        # Built from the C module: the socket module's own class costs imports
        # that a plain controller never needs.
        self._socket = socket(AF_UNIX, SOCK_STREAM, 0, descriptor)
        self._inbox = bytearray()
        self._outbox = bytearray()
        self._lock = RLock()
        self._owner = get_ident()
        self._loop: ChannelLoop | None = None
        self._carries_calls = False
        self._calls: dict[int, Future[Any]] = {}
        self._last_id = 0
        self._ended = False

    # Before and after the request: plain blocking reads.

    def greet(self) -> bool:
        """Shows the supervisor who this is, and waits for its leave to go on; whether there is time to rehearse."""
        self._socket.sendall(b"\x01", MSG_NOSIGNAL)
        leave = self._socket.recv(1)
        if leave not in (b"g", b"n"):
            os._exit(0)
        return leave == b"g"

    def next_frame(self) -> dict[str, Any]:
        """Waits for one frame; the end of the channel ends the process."""
        if not self._inbox:
            # Most frames come whole and alone: they are read from where they lie.
            try:
                data = self._socket.recv(_PIECE)
            except OSError:
                os._exit(1)
            if not data:
                os._exit(0)
            if int.from_bytes(data[:4], "big") == len(data) - 4:
                return decode(data[4:])
            self._inbox += data
        while True:
            payload = self._take()
            if payload is not None:
                return decode(payload)
            self._receive(0)

    def wait_for_end(self) -> NoReturn:
        """Reads and drops everything until the supervisor closes the channel."""
        while True:
            try:
                if not self._socket.recv(1024):
                    break
            except OSError:
                break
        os._exit(0)

    def close(self) -> None:
        """Lets go of the descriptor."""
        self._socket.close()

    # During the request.

    def attach(self, loop: ChannelLoop | None) -> None:
        """Says that a coroutine runs, and on which event loop, if on any."""
        self._carries_calls = True
        self._loop = loop

    @property
    def wants_to_write(self) -> bool:
        """Whether something is waiting for room in the socket."""
        return bool(self._outbox)

    def on_ready(self, readable: bool, writable: bool) -> None:
        """Called by the event loop when its poll names this channel."""
        if writable:
            with self._lock:
                self._push()
        if readable:
            self._receive(MSG_DONTWAIT)
        self.dispatch()

    def dispatch(self) -> None:
        """Resolves the calls whose answers have arrived."""
        while (payload := self._take()) is not None:
            message = decode(payload)
            # An answer whose call was cancelled, or that nobody asked for, has no one to go to.
            future = self._calls.pop(message.get("id", 0), None)
            if future is None or future.done():
                continue
            error = message.get("error")
            if isinstance(error, dict):
                future.set_exception(error_from_answer(error))
            else:
                future.set_result(message.get("result"))

    def call(self, method: str, params: dict[str, object]) -> Coroutine[Any, Any, Any]:
        """A capability call as a coroutine; asked of a plain controller it fails at once."""
        if not self._carries_calls:
            raise MagicError(f"{method} has to be awaited: write `async def` for the controller and `await` before the call")
        return self._call(method, params)

    async def _call(self, method: str, params: dict[str, object]) -> Any:
        if get_ident() != self._owner:
            raise MagicError(f"{method} works on the controller's own event loop only, not in another thread")
        self._last_id += 1
        identity = self._last_id
        try:
            encoded = encode_output(params)
        except OutputError as error:
            raise MagicError(f"the parameter {error.path} of {method} cannot be sent: {error}") from None
        payload = b'{"id":%d,"method":"%s","params":%s}' % (identity, method.encode("ascii"), encoded)
        loop = self._loop
        if loop is None:
            self.send(payload)
            return self._answer_to(identity)
        future: Future[Any] = loop.create_future()
        self._calls[identity] = future
        try:
            self.send(payload)
            return await future
        finally:
            self._calls.pop(identity, None)

    def _answer_to(self, identity: int) -> Any:
        """Waits for the answer to the one call that is under way."""
        while True:
            message = self.next_frame()
            if message.get("id") != identity:
                continue
            error = message.get("error")
            if isinstance(error, dict):
                raise error_from_answer(error)
            return message.get("result")

    def notify(self, method: str, params: dict[str, object]) -> None:
        """A message without an answer, from any thread."""
        self.send(encode_message({"method": method, "params": params}))

    def send(self, payload: bytes) -> None:
        """Queues one frame and sends what fits; waits where no event loop would send the rest."""
        if len(payload) > FRAME_LIMIT:
            raise MagicError(f"the message has {len(payload)} bytes; the limit is {FRAME_LIMIT}")
        with self._lock:
            if self._ended:
                return
            frame = len(payload).to_bytes(4, "big") + payload
            if self._outbox:
                self._outbox += frame
                self._push()
            else:
                # What fits at once need not be kept.
                try:
                    sent = self._socket.send(frame, _NOW)
                except BlockingIOError:
                    sent = 0
                except OSError:
                    # Without the supervisor there is nobody to work for.
                    os._exit(1)
                if sent == len(frame):
                    return
                self._outbox += frame[sent:]
            if self._loop is None or get_ident() != self._owner or len(self._outbox) > _KEPT:
                self._push_all()

    def finish(self, payload: bytes) -> None:
        """Sends the last frame, wholly; whatever is sent afterwards is dropped."""
        with self._lock:
            self._loop = None
            self.send(payload)
            self._ended = True

    def _push(self) -> None:
        while self._outbox:
            try:
                with memoryview(self._outbox) as view, view[:_PIECE] as piece:
                    sent = self._socket.send(piece, _NOW)
            except BlockingIOError:
                return
            except OSError:
                # Without the supervisor there is nobody to work for.
                os._exit(1)
            del self._outbox[:sent]

    def _push_all(self) -> None:
        reading = get_ident() == self._owner
        poll = select.poll()
        poll.register(self.descriptor, select.POLLOUT | (select.POLLIN if reading else 0))
        while self._outbox:
            for _, events in poll.poll():
                if reading and events & select.POLLIN:
                    self._receive(MSG_DONTWAIT)
            self._push()

    def _receive(self, flags: int) -> None:
        try:
            data = self._socket.recv(_PIECE, flags)
        except BlockingIOError:
            return
        except OSError:
            os._exit(1)
        if not data:
            os._exit(0)
        self._inbox += data

    def _take(self) -> bytearray | None:
        inbox = self._inbox
        if len(inbox) < 4:
            return None
        size = int.from_bytes(inbox[:4], "big")
        if size > FRAME_LIMIT:
            os._exit(1)
        if len(inbox) < 4 + size:
            return None
        payload = inbox[4 : 4 + size]
        del inbox[: 4 + size]
        return payload
