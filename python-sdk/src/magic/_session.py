"""One request as the SDK sees it: facts, log, clients, and the line they talk over.

The line is a protocol of two verbs, so that the runner's socket and the fake
broker of ``magic.testing`` are interchangeable.
"""

from __future__ import annotations

from time import monotonic

from magic._log import Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from typing import Any, Protocol

    from magic._clients import Clients
    from magic._context import RequestContext

    class Line(Protocol):
        """What carries calls and notifications to whoever decides about them."""

        def call(self, method: str, params: dict[str, object]) -> Coroutine[Any, Any, Any]:
            """A capability call; its result, or an error of ``magic._errors``."""

        def notify(self, method: str, params: dict[str, object]) -> None:
            """A message that gets no answer."""


__all__ = ["Session"]


class Session:
    """Everything that belongs to the one request of this process."""

    __slots__ = ("_clients", "_context", "_frame", "_received", "line", "log")

    def __init__(self, line: Line, context: RequestContext | Mapping[str, object]) -> None:
        """``context`` may be what an execute frame says, of which the facts are made when they are asked for."""
        self.line = line
        self._frame = context
        self._received = monotonic()
        self.log = Log(line.notify)
        self._context: RequestContext | None = None
        self._clients: Clients | None = None

    @property
    def context(self) -> RequestContext:
        """The facts of the request."""
        if self._context is None:
            from magic._context import RequestContext

            frame = self._frame
            self._context = frame if isinstance(frame, RequestContext) else RequestContext.from_frame(frame, self._received)
        return self._context

    @property
    def clients(self) -> Clients:
        """The capability clients, imported when the first one is touched."""
        if self._clients is None:
            from magic._clients import Clients

            self._clients = Clients(self.line)
        return self._clients
