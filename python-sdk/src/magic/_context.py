"""The facts of one request that a controller may read.

They are facts, not powers: changing them changes nothing outside the process.
"""

from __future__ import annotations

from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Caller", "RequestContext"]


class Caller:
    """Who asked: ``subject`` is a name, ``roles`` the roles the supervisor confirmed."""

    __slots__ = ("roles", "subject")

    def __init__(self, subject: str, roles: tuple[str, ...]) -> None:
        self.subject = subject
        self.roles = roles

    def __repr__(self) -> str:
        return f"Caller(subject={self.subject!r}, roles={self.roles!r})"


class RequestContext:
    """The request being served.

    ``deadline`` is a point on the clock of ``time.monotonic()``, in seconds.
    """

    __slots__ = ("caller", "controller", "deadline", "request_id", "version")

    def __init__(
        self,
        request_id: str,
        deadline: float,
        caller: Caller,
        version: str,
        controller: str,
    ) -> None:
        self.request_id = request_id
        self.deadline = deadline
        self.caller = caller
        self.version = version
        self.controller = controller

    @classmethod
    def from_frame(cls, frame: Mapping[str, object], received: float) -> RequestContext:
        """Reads the ``context`` member of an execute frame, which the supervisor wrote and which came at that time."""
        caller = frame.get("caller")
        caller = caller if isinstance(caller, dict) else {}
        milliseconds = frame.get("deadline_ms")
        if not isinstance(milliseconds, (int, float)):
            milliseconds = 0
        return cls(
            request_id=str(frame.get("request_id", "")),
            deadline=received + milliseconds / 1000,
            caller=Caller(str(caller.get("subject", "")), tuple(caller.get("roles", ()))),
            version=str(frame.get("version", "")),
            controller=str(frame.get("controller", "")),
        )

    def remaining(self) -> float:
        """Seconds left until the deadline; never negative."""
        return max(0.0, self.deadline - monotonic())
