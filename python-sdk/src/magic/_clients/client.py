"""What all clients share: the line, and the checks of arguments.

A check names the argument and says what to write. It looks at types and plain
ranges only; what names and keys may look like is decided outside.
"""

from __future__ import annotations

from math import ceil, isfinite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from datetime import timedelta
    from typing import Any, TypeVar

    from magic._session import Line

    Value = TypeVar("Value")

__all__ = ["Client", "converted", "milliseconds", "text", "type_name", "whole"]


class Client:
    """One capability over the request's line."""

    __slots__ = ("_line",)

    def __init__(self, line: Line) -> None:
        self._line = line

    def _call(self, method: str, /, **params: object) -> Coroutine[Any, Any, Any]:
        return self._line.call(method, {name: value for name, value in params.items() if value is not None})


async def converted(answer: Coroutine[Any, Any, Any], convert: Callable[[Any], Value]) -> Value:
    """The answer of a call as a Python value."""
    return convert(await answer)


def type_name(value: object) -> str:
    """How an error calls the type of a wrong argument."""
    return type(value).__name__[:100]


def text(value: object, argument: str) -> str:
    """The argument, if it is text."""
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be a str, not {type_name(value)}")
    return value


def whole(value: object, argument: str, least: int = 0) -> int | None:
    """The argument, if it is a whole number of at least ``least``, or None."""
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{argument} must be an int, not {type_name(value)}")
    if value < least:
        raise ValueError(f"{argument} must be at least {least}, not {value}")
    return value


def milliseconds(value: float | timedelta | None, argument: str) -> int | None:
    """A duration as whole milliseconds, rounded up; numbers are seconds."""
    if value is None:
        return None
    total = getattr(value, "total_seconds", None)
    seconds = total() if callable(total) else value
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
        raise TypeError(f"{argument} must be seconds or a timedelta, not {type_name(value)}")
    if not isfinite(seconds) or seconds <= 0:
        raise ValueError(f"{argument} must be a time above zero, not {seconds}")
    return ceil(seconds * 1000)
