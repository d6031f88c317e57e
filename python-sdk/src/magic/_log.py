"""Structured log lines, sent to the supervisor over the request's channel.

A log call never raises because of what it was given: a line about a failure
must not become the failure. So values that are not JSON are written by their
repr, and everything is bounded before it leaves the process.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FIELDS_LIMIT", "MESSAGE_LIMIT", "Log", "bounded", "json_safe", "safe_text"]

#: Characters kept of one message.
MESSAGE_LIMIT = 8 * 1024
#: Characters kept of one field's text.
VALUE_LIMIT = 2 * 1024
#: Characters kept of one field's name.
KEY_LIMIT = 256
#: Fields kept of one line.
FIELDS_LIMIT = 64
#: Levels of nesting kept of one field.
DEPTH_LIMIT = 6
#: Items of all nested fields of one line together.
ITEMS_LIMIT = 512
# Every reader of JSON agrees about integers up to this one.
_SAFE = 2**53


def bounded(text: str, limit: int) -> str:
    """At most ``limit`` characters of a text, saying how many were left off."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}… ({len(text) - limit} more characters)"


def safe_text(value: object, limit: int) -> str:
    """``str(value)``, bounded, for any object, also one whose ``__str__`` raises."""
    try:
        # The slice also turns a str subclass with methods of its own into a plain str.
        return bounded(str.__str__(str(value)), limit)
    except BaseException:
        return f"<{type(value).__name__} that cannot be shown>"


def json_safe(value: object) -> object:
    """The value with everything that JSON cannot carry replaced by a bounded repr."""
    return _json_safe(value, DEPTH_LIMIT, [ITEMS_LIMIT])


def _json_safe(value: object, depth: int, left: list[int]) -> object:
    left[0] -= 1
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is int:
        # Beyond 64 bits readers of the log disagree about the value.
        return value if -(2**63) <= value < 2**64 else _represent(value)  # type: ignore[operator]
    if kind is float:
        return value if value - value == 0 else _represent(value)  # type: ignore[operator]
    if kind is str:
        return bounded(value, VALUE_LIMIT)  # type: ignore[arg-type]
    if kind is dict and depth > 0:
        kept: dict[str, object] = {}
        for key, item in list(value.items()):  # type: ignore[attr-defined]
            if left[0] <= 0:
                kept["…"] = "more fields were left off"
                break
            kept[safe_text(key, KEY_LIMIT)] = _json_safe(item, depth - 1, left)
        return kept
    if kind in (list, tuple) and depth > 0:
        items: list[object] = []
        for item in list(value):  # type: ignore[call-overload]
            if left[0] <= 0:
                items.append("… more items were left off")
                break
            items.append(_json_safe(item, depth - 1, left))
        return items
    return _represent(value)


def _represent(value: object) -> str:
    try:
        return bounded(str.__str__(repr(value)), VALUE_LIMIT)
    except BaseException:
        return f"<{type(value).__name__} that cannot be shown>"


class Log:
    """``self.log``: one method per level, fields as keywords."""

    __slots__ = ("_notify",)

    def __init__(self, notify: Callable[[str, dict[str, object]], None]) -> None:
        self._notify = notify

    def debug(self, message: object, /, **fields: object) -> None:
        """A line for the author, normally not kept in production."""
        self._write("debug", message, fields)

    def info(self, message: object, /, **fields: object) -> None:
        """A line that tells what happened."""
        self._write("info", message, fields)

    def warning(self, message: object, /, **fields: object) -> None:
        """A line about something that should be looked at."""
        self._write("warning", message, fields)

    def error(self, message: object, /, **fields: object) -> None:
        """A line about something that failed."""
        self._write("error", message, fields)

    def _write(self, level: str, message: object, fields: dict[str, object]) -> None:
        safe: object = fields
        # Most lines need nothing of this, and are told so without a call.
        if len(fields) > FIELDS_LIMIT:
            safe = json_safe(dict(list(fields.items())[:FIELDS_LIMIT]))
        else:
            for key, value in fields.items():
                kind = type(value)
                short = len(value) <= VALUE_LIMIT if kind is str else kind is bool or (kind is int and -_SAFE <= value <= _SAFE)  # type: ignore[arg-type,operator]
                if not short or type(key) is not str or len(key) > KEY_LIMIT:
                    safe = json_safe(fields)
                    break
        if type(message) is not str or len(message) > MESSAGE_LIMIT:
            message = safe_text(message, MESSAGE_LIMIT)
        self._notify("log", {"level": level, "message": message, "fields": safe})
