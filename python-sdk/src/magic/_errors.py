"""The errors a controller may raise or catch, as one tree.

    MagicError
      CapabilityDenied    a capability call was refused (codes E2xxx)
      BackendError        an allowed call failed behind the supervisor
      DeadlineExceeded    the request's time ran out during a call
      ControllerError     the author's own failure, with a code for the caller
      OutputError         the returned value is not JSON

One base class lets a controller catch everything of the runtime's in one
line, and the three facts that travel to the caller (code, details, retriable)
live on the base, so that reporting needs no case per class.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "BackendError",
    "CapabilityDenied",
    "ControllerError",
    "DeadlineExceeded",
    "MagicError",
    "OutputError",
    "error_from_answer",
]


class MagicError(Exception):
    """Base of every error of this package.

    ``code`` is a code of the runtime's catalogue or the author's own,
    ``details`` holds JSON-safe facts, ``retriable`` says whether the same
    request may succeed later.
    """

    code: str | None = None
    details: dict[str, object] | None = None
    retriable: bool = False

    def __init__(
        self,
        message: str = "",
        *,
        code: str | None = None,
        details: Mapping[str, object] | None = None,
        retriable: bool | None = None,
    ) -> None:
        super().__init__(message)
        # A subclass may state these once as class attributes; only what is
        # passed replaces them.
        if code is not None:
            self.code = code
        if details is not None:
            self.details = dict(details)
        if retriable is not None:
            self.retriable = retriable


class CapabilityDenied(MagicError):
    """The contract, the policy or a budget refused a capability call.

    ``code`` is one of E2001 (not declared), E2002 (policy), E2003 (target not
    in the allowance), E2004 (budget used up), E2005 (stopped by the kernel).
    Left uncaught it becomes the request's error.
    """

    @property
    def layer(self) -> str | None:
        """Who refused: ``contract``, ``policy``, ``budget``, or ``runtime`` where neither of them could allow it."""
        return self._fact("layer")

    @property
    def rule(self) -> str | None:
        """The rule that refused, if one did: of the policy, of the runtime, or the budget's name."""
        return self._fact("rule")

    @property
    def line(self) -> str | None:
        """The line of the contract or the policy that would allow the call."""
        return self._fact("line")

    def _fact(self, name: str) -> str | None:
        value = (self.details or {}).get(name)
        return value if isinstance(value, str) else None


class BackendError(MagicError):
    """An allowed call failed in its database, at its host or queue, or made no sense there.

    ``retriable`` says whether the same call may succeed later.
    """


class DeadlineExceeded(MagicError):
    """The request's deadline passed while a capability call was under way."""


class ControllerError(MagicError):
    """The author's own failure; its code, details and message reach the caller.

    raise ControllerError("no such customer", code="CUSTOMER_UNKNOWN", details={"id": 7})
    """


class OutputError(MagicError):
    """The value returned by a controller cannot be written as JSON.

    ``path`` is a JSON Pointer to the offending place in the value.
    """

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


def error_from_answer(answer: Mapping[str, object]) -> MagicError:
    """Turns the supervisor's error answer to a capability call into an exception."""
    code = str(answer.get("code") or "")
    message = str(answer.get("message") or "the call failed")
    raw = answer.get("details")
    details = raw if isinstance(raw, dict) else {}
    kind: type[MagicError]
    if code.startswith("E2"):
        kind = CapabilityDenied
    elif code == "E3001":
        kind = DeadlineExceeded
    else:
        kind = BackendError
    line = details.get("line")
    if kind is CapabilityDenied and isinstance(line, str) and line not in message:
        message = f"{message}; write: {line}"
    return kind(message, code=code or None, details=details, retriable=details.get("retriable") is True)
