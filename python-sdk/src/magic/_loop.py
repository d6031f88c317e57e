"""An asyncio event loop that polls one descriptor.

A loop of the standard kind opens an epoll descriptor and a socket pair to wake
itself up, and pays for both in every forked worker. This one polls the
request's channel and makes its wake-up pair when the first other thread
appears, since only another thread can want to wake it. Networking, child
processes and signal handlers are left out: the sandbox has none.

Known limit: a signal handler that calls ``call_soon_threadsafe`` in a process
with a single thread is noticed at the next timer or frame, not at once.
"""

from __future__ import annotations

import math
import select
from _thread import _count as count_threads  # type: ignore[attr-defined,unused-ignore]
from asyncio import BaseEventLoop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

    from magic._runner._channel import Channel

__all__ = ["ChannelLoop"]

# A poll of more milliseconds than this overflows its C int.
_LONGEST = 24 * 3600 * 1000


class _Selector:
    """What BaseEventLoop asks for: ``select(timeout)``."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._channel: Channel | None = None
        self._wake: tuple[socket, socket] | None = None
        self._writing = False
        self._woken = False

    def watch(self, channel: Channel | None) -> None:
        """Polls this channel from now on, or none."""
        if self._channel is not None:
            self._poll.unregister(self._channel.descriptor)
        self._channel = channel
        self._writing = False
        if channel is not None:
            self._poll.register(channel.descriptor, select.POLLIN)

    def select(self, timeout: float | None) -> list[tuple[int, int]]:
        if self._wake is None and count_threads() > 0:
            self._make_wake()
        channel = self._channel
        if channel is not None and channel.wants_to_write != self._writing:
            self._writing = not self._writing
            self._poll.modify(channel.descriptor, select.POLLIN | (select.POLLOUT if self._writing else 0))
        if self._woken:
            # Something joined the queue after the timeout had been worked out.
            self._woken = False
            timeout = 0
        if timeout is None:
            return self._poll.poll()
        return self._poll.poll(min(math.ceil(timeout * 1000), _LONGEST))

    def process(self, events: list[tuple[int, int]]) -> None:
        for descriptor, mask in events:
            if self._channel is not None and descriptor == self._channel.descriptor:
                self._channel.on_ready(bool(mask & ~select.POLLOUT), bool(mask & select.POLLOUT))
            elif self._wake is not None:
                self._woken = False
                try:
                    self._wake[0].recv(4096)
                except BlockingIOError:
                    pass

    def wake(self) -> None:
        """Called after something was added to the loop's queue, by any thread."""
        # Flag first, pair second; ``select`` goes the other way round, so one of
        # the two always sees what the other did.
        self._woken = True
        pair = self._wake
        if pair is not None:
            try:
                pair[1].send(b"\0")
            except OSError:
                # Full: the loop will wake up anyway.
                pass

    def _make_wake(self) -> None:
        from _socket import socketpair

        near, far = socketpair()
        near.setblocking(False)
        far.setblocking(False)
        self._wake = (near, far)
        self._poll.register(near.fileno(), select.POLLIN)

    def close(self) -> None:
        pair, self._wake = self._wake, None
        if pair is not None:
            self._poll.unregister(pair[0].fileno())
            pair[0].close()
            pair[1].close()


class ChannelLoop(BaseEventLoop):
    """The loop a worker runs its controller on."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = _Selector()

    def watch(self, channel: Channel | None) -> None:
        """Polls this channel from now on, or none."""
        self._selector.watch(channel)

    def _process_events(self, event_list: list[tuple[int, int]]) -> None:
        self._selector.process(event_list)

    def _write_to_self(self) -> None:
        self._selector.wake()

    def close(self) -> None:
        """Releases the wake-up pair, if one was made."""
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        self._selector.close()
        super().close()
