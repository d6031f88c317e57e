"""One request as the SDK sees it: facts, log, clients, and the line they talk over.

The line is a protocol of two verbs, so that the runner's socket and the fake
broker of ``magic.testing`` are interchangeable.
"""

from __future__ import annotations

from magic._log import Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Coroutine
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

    def __init__(self, line: Line, context: RequestContext) -> None:
        self.line = line
        self.context = context
        self.log = Log(line.notify)
        self._clients: Clients | None = None

    @property
    def clients(self) -> Clients:
        """The capability clients, imported when the first one is touched."""
        if self._clients is None:
            from magic._clients import Clients

            self._clients = Clients(self.line)
        return self._clients
