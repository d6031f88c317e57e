"""The ways in which the fake says no: the supervisor's codes, reasons and details.

Every refusal is made as the answer that would come over the channel and turned
into an exception by the same function, so that a test catches what a
controller would.
"""

from __future__ import annotations

from magic._errors import MagicError, error_from_answer

__all__ = ["backend", "exhausted", "misuse", "outside", "refused", "shortened"]


def _answer(code: str, message: str, details: dict[str, object]) -> MagicError:
    return error_from_answer({"code": code, "message": message, "details": details})


def refused(code: str, message: str, **details: object) -> MagicError:
    """E2001, E2002 or E2003 with its facts; those that are None are left out."""
    return _answer(code, message, {name: value for name, value in details.items() if value is not None})


def outside(message: str, **details: object) -> MagicError:
    """The target can never be allowed, whatever the contract lists."""
    return refused("E2003", message, **{"layer": "runtime", **details})


def exhausted(budget: str, message: str, **details: object) -> MagicError:
    """A budget is used up."""
    return _answer("E2004", message, {"layer": "budget", "rule": budget, "budget": budget, **details})


def misuse(message: str) -> MagicError:
    """The call makes no sense as it stands; trying again changes nothing."""
    return backend(message, retriable=False)


def backend(message: str, *, retriable: bool) -> MagicError:
    """A back end failed."""
    return _answer("E3003", message, {"reason": "backend", "retriable": retriable})


def shortened(text: str) -> str:
    """A name out of a parameter, for a message."""
    shown = text[:100].encode("unicode_escape").decode("ascii")
    return shown if len(text) <= 100 else shown + "…"
