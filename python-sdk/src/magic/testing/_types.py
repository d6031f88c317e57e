"""What the columns of the fake's tables hold, and how values travel to and from them.

A column has a kind: text, int, float, bool, decimal, datetime (with a time
zone), naive_datetime, date, time, uuid, bytes, json, or one of them with ``[]``
for a list. A value that does not fit its column is refused as the runtime
refuses it, naming the column and its kind and never the value.
"""

from __future__ import annotations

import base64
import datetime
from collections.abc import Callable, Iterable
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from magic.testing._refusal import misuse, shortened

__all__ = ["KINDS", "Json", "coerce", "common_kind", "from_wire", "on_wire", "to_wire"]

KINDS = (
    "text", "int", "float", "bool", "decimal", "datetime", "naive_datetime", "date", "time", "uuid", "bytes", "json",
)  # fmt: skip


class Json:
    """A dict that is a value and not a typed value of the wire."""

    def __init__(self, value: object) -> None:
        self.value = value


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(text) from None


_TYPED: dict[str, Callable[[str], object]] = {
    "$decimal": _decimal,
    "$datetime": datetime.datetime.fromisoformat,
    "$date": datetime.date.fromisoformat,
    "$time": datetime.time.fromisoformat,
    "$uuid": UUID,
    "$bytes": lambda text: base64.b64decode(text, validate=True),
    "$float": {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}.__getitem__,
}


def from_wire(value: object) -> object:
    """A value of a call's parameters as a Python value."""
    if isinstance(value, list):
        return [from_wire(item) for item in value]
    if not isinstance(value, dict):
        return value
    if not any(key.startswith("$") for key in value):
        return Json(value)
    key, text = next(iter(value.items()))
    if len(value) == 1 and key == "$json":
        return Json(text)
    if len(value) == 1 and key in _TYPED and isinstance(text, str):
        try:
            return _TYPED[key](text)
        except (ValueError, KeyError):
            raise misuse(f"a value of {key} is not written as one") from None
    raise misuse(f"an object with the member {shortened(key)} is no value: a JSON value with such a key is sent in $json")


def _plain_json(value: object) -> object:
    if isinstance(value, Json):
        return value.value
    if isinstance(value, list):
        return [_plain_json(item) for item in value]
    # A dict is one that a test gave: those of calls are wrapped.
    if value is None or isinstance(value, (str, int, float, dict)):
        return value
    raise ValueError(value)


def _int(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)) or value != int(value):
        raise ValueError(value)
    number = int(value)
    if not -(2**63) <= number < 2**63:
        raise ValueError(value)
    return number


def _number(make: Callable[[Any], object]) -> Callable[[object], object]:
    def convert(value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
            raise ValueError(value)
        return make(repr(value) if isinstance(value, float) and make is Decimal else value)

    return convert


def _of(kind: type, parse: Callable[[str], object] | None = None) -> Callable[[object], object]:
    def convert(value: object) -> object:
        if isinstance(value, str) and parse is not None:
            value = parse(value)
        # bool is an int and a datetime is a date, but neither is meant.
        if type(value) is not kind:
            raise ValueError(value)
        return value

    return convert


def _aware(value: object) -> object:
    moment = datetime.datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(moment, datetime.datetime) or moment.tzinfo is None:
        raise ValueError(value)
    return moment.astimezone(datetime.UTC)


def _naive(value: object) -> object:
    moment = datetime.datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(moment, datetime.datetime) or moment.tzinfo is not None:
        raise ValueError(value)
    return moment


_COERCIONS: dict[str, Callable[[object], object]] = {
    "text": lambda value: str(value) if isinstance(value, (str, UUID)) else _of(str)(value),
    "int": _int,
    "float": _number(float),
    "bool": _of(bool),
    "decimal": _number(Decimal),
    "datetime": _aware,
    "naive_datetime": _naive,
    "date": _of(datetime.date, datetime.date.fromisoformat),
    "time": _of(datetime.time, datetime.time.fromisoformat),
    "uuid": _of(UUID, UUID),
    "bytes": _of(bytes),
    "json": _plain_json,
}


def coerce(kind: str | None, value: object, column: str) -> Any:
    """The value as the column keeps it; a column of no known kind keeps what it is given."""
    if value is None:
        return None
    if kind is None:
        return value.value if isinstance(value, Json) else value
    if kind.endswith("[]"):
        if not isinstance(value, list):
            raise misuse(f"the column `{column}` holds {kind}, and was given another type")
        return [coerce(kind[:-2], item, column) for item in value]
    try:
        return _COERCIONS[kind](value)
    except (ValueError, OverflowError):
        hint = ""
        if isinstance(value, datetime.datetime) and kind in ("datetime", "naive_datetime"):
            hint = ": give it a time zone" if kind == "datetime" else ": it is without a time zone"
        raise misuse(f"the column `{column}` holds {kind}, and was given another type{hint}") from None


def kind_of(value: object) -> str | None:
    """The kind of a Python value, None for None."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, datetime.datetime):
        return "datetime" if value.tzinfo is not None else "naive_datetime"
    if isinstance(value, (list, tuple)):
        inner = common_kind(value)
        return "json" if inner in (None, "json") or inner.endswith("[]") else f"{inner}[]"
    if isinstance(value, dict):
        return "json"
    kinds: list[tuple[type, str]] = [
        (str, "text"), (int, "int"), (float, "float"), (Decimal, "decimal"), (datetime.date, "date"),
        (datetime.time, "time"), (UUID, "uuid"), (bytes, "bytes"),
    ]  # fmt: skip
    for base, kind in kinds:
        if isinstance(value, base):
            return kind
    raise TypeError(f"a table of the fake cannot hold a value of type {type(value).__name__}")


def common_kind(values: Iterable[object]) -> str | None:
    """The one kind of a column's values; json where they differ."""
    kinds = {kind_of(value) for value in values} - {None}
    if kinds == {"int", "float"}:
        return "float"
    return kinds.pop() if len(kinds) == 1 else "json" if kinds else None


def on_wire(kind: str | None) -> str | None:
    """How the answer names the column's kind; None for what JSON carries itself."""
    if kind is None or kind in ("text", "int", "bool", "json"):
        return None
    if kind.endswith("[]"):
        inner = on_wire(kind[:-2])
        return None if inner is None else f"{inner}[]"
    return "datetime" if kind == "naive_datetime" else kind


def to_wire(value: Any) -> object:
    """A value of an answer as JSON."""
    if isinstance(value, (Decimal, UUID)):
        return str(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, float) and value - value != 0:
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, (list, tuple)):
        return [to_wire(item) for item in value]
    return value
