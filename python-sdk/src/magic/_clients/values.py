"""Values of the database on the wire, both ways.

JSON has no Decimal, no dates and no bytes. On the way out such a value becomes
an object with one member whose name begins with a dollar sign; on the way back
the answer names the columns whose text or number stands for something else.
Nothing here rounds: a value that cannot be carried exactly is refused.

Types are recognized by their module and name, so that this file imports
neither decimal nor datetime nor uuid: who hands over such a value has imported
it, and who reads one pays for it then.
"""

from __future__ import annotations

from datetime import UTC

from magic._clients.client import type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Decoder = Callable[[Any], Any]

__all__ = ["encode_row", "encode_value", "encode_where", "rows_of"]

_SMALLEST = -(2**63)
_LARGEST = 2**63 - 1
#: Levels of nesting of a condition or of a JSON value; beyond it is a value that contains itself.
_DEEPEST = 64

_OPERATORS = ("eq", "ne", "lt", "lte", "gt", "gte", "in", "not_in", "like", "ilike", "is_null")

_ADVICE = {
    "timedelta": "write value.total_seconds(), or text",
    "set": "write a list: sorted(value)",
    "frozenset": "write a list: sorted(value)",
    "generator": "write a list: list(value)",
    "map": "write a list: list(value)",
    "coroutine": "write await before the call that made it",
    "complex": "write [value.real, value.imag]",
    "Fraction": "write a Decimal, or str(value)",
}


def encode_value(value: object, place: str) -> object:
    """One value of a row, of a condition, or of the parameters of SQL text.

    Raises TypeError or ValueError, naming ``place``, for what no column holds.
    """
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        if _SMALLEST <= value <= _LARGEST:
            return value
        try:
            return {"$decimal": int.__repr__(value)}
        except ValueError:
            raise ValueError(f"{place} has too many digits for any column") from None
    if isinstance(value, float):
        # Only a number minus itself is zero.
        return value if value - value == 0 else {"$float": _name_of(value)}
    if isinstance(value, (list, tuple)):
        return [encode_value(item, f"{place}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, dict):
        return {"$json": value} if _has_dollar(value, place, _DEEPEST) else value
    for base in type(value).__mro__:
        encode = _ENCODERS.get((base.__module__, base.__qualname__))
        if encode is not None:
            return encode(value, place)
    advice = _ADVICE.get(type_name(value))
    if advice is None:
        advice = "write value.item()" if hasattr(type(value), "dtype") else "write str(value), or another type"
    raise TypeError(f"{place} is of type {type_name(value)}, which no column holds: {advice}")


def _name_of(value: float) -> str:
    if value != value:
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _has_dollar(value: object, place: str, left: int) -> bool:
    """Whether a JSON value has a key that the wire would take for a type; refuses what is not JSON."""
    if value is None or isinstance(value, (str, int, float)):
        return False
    if left == 0:
        raise ValueError(f"{place} is nested more than {_DEEPEST} levels deep")
    found = False
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{place} has the key {key!r:.100}: a JSON object has only strings as keys")
            found |= key.startswith("$") | _has_dollar(item, f"{place}[{key!r:.100}]", left - 1)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            found |= _has_dollar(item, f"{place}[{index}]", left - 1)
    else:
        raise TypeError(f"{place} is of type {type_name(value)} inside a JSON value: write str(value)")
    return found


def _encode_decimal(value: Any, place: str) -> object:
    if value.is_nan():
        return {"$decimal": "NaN"}
    return {"$decimal": str(value)}


def _encode_datetime(value: Any, place: str) -> object:
    offset = value.utcoffset()
    if offset is not None and offset.total_seconds() % 60:
        # Local mean times have seconds in their offset, which ISO 8601 does not.

        value = value.astimezone(UTC)
    # Without a subclass's own idea of the format.
    return {"$datetime": _base(value, "datetime").isoformat(value)}


def _encode_date(value: Any, place: str) -> object:
    return {"$date": _base(value, "date").isoformat(value)}


def _encode_time(value: Any, place: str) -> object:
    if value.tzinfo is not None:
        raise ValueError(f"{place} is a time with a time zone, which means nothing without a date: write a datetime")
    return {"$time": _base(value, "time").isoformat(value)}


def _base(value: object, name: str) -> Any:
    return next(base for base in type(value).__mro__ if (base.__module__, base.__qualname__) == ("datetime", name))


def _encode_uuid(value: Any, place: str) -> object:
    return {"$uuid": str(value)}


def _encode_bytes(value: Any, place: str) -> object:
    from binascii import b2a_base64

    return {"$bytes": b2a_base64(value, newline=False).decode("ascii")}


_ENCODERS: dict[tuple[str, str], Callable[[Any, str], object]] = {
    ("decimal", "Decimal"): _encode_decimal,
    ("datetime", "datetime"): _encode_datetime,
    ("datetime", "date"): _encode_date,
    ("datetime", "time"): _encode_time,
    ("uuid", "UUID"): _encode_uuid,
    ("builtins", "bytes"): _encode_bytes,
    ("builtins", "bytearray"): _encode_bytes,
    ("builtins", "memoryview"): _encode_bytes,
}


def encode_row(row: object, place: str) -> dict[str, object]:
    """The columns and values of one row."""
    if not isinstance(row, dict):
        raise TypeError(f"{place} must be a dict of columns and values, not {type_name(row)}")
    encoded: dict[str, object] = {}
    for column, value in row.items():
        encoded[_column(column, place)] = encode_value(value, f"{place}[{column!r:.100}]")
    return encoded


def _column(column: object, place: str) -> str:
    if not isinstance(column, str):
        raise TypeError(f"{place} has the key {column!r:.100}: columns are named by a str")
    return column


def encode_where(where: object, place: str = "where", depth: int = 0) -> dict[str, object]:
    """A condition: columns with a value or with operators, and ``and``, ``or``, ``not``."""
    if not isinstance(where, dict):
        raise TypeError(f'{place} must be a dict such as {{"id": 7}}, not {type_name(where)}')
    if depth > _DEEPEST:
        raise ValueError(f"where is nested more than {_DEEPEST} levels deep")
    encoded: dict[str, object] = {}
    for key, value in where.items():
        here = f"{place}[{key!r:.100}]"
        if key in ("and", "or"):
            if not isinstance(value, (list, tuple)):
                raise TypeError(f"{here} must be a list of conditions, not {type_name(value)}")
            encoded[key] = [encode_where(one, f"{here}[{index}]", depth + 1) for index, one in enumerate(value)]
        elif key == "not":
            encoded[key] = encode_where(value, here, depth + 1)
        elif isinstance(value, dict):
            encoded[_column(key, place)] = {
                _operator(name, here): encode_value(operand, f"{here}[{name!r}]") for name, operand in value.items()
            }
        else:
            encoded[_column(key, place)] = encode_value(value, here)
    return encoded


def _operator(name: object, place: str) -> str:
    if isinstance(name, str) and name in _OPERATORS:
        return name
    raise ValueError(
        f"{place} has the operator {name!r:.100}, which is none of {', '.join(_OPERATORS)}; "
        'to compare with a JSON value write {"eq": value}'
    )


def rows_of(answer: Any) -> list[dict[str, Any]]:
    """The rows of an answer, with the columns that it names turned into Python values."""
    rows: list[dict[str, Any]] = answer["rows"]
    for column, kind in answer.get("columns", {}).items():
        decode = _decoder(kind)
        for row in rows:
            value = row.get(column)
            if value is not None:
                row[column] = decode(value)
    return rows


def _decoder(kind: str) -> Decoder:
    if kind.endswith("[]"):
        return _array_of(_decoder(kind[:-2]))
    if kind == "decimal":
        from decimal import Decimal

        return Decimal
    if kind == "float":
        return float
    if kind == "bytes":
        from binascii import a2b_base64

        return a2b_base64
    if kind == "uuid":
        from uuid import UUID

        return UUID
    import datetime

    # Python's calendar ends where some databases go on ("infinity", years
    # before 1 or after 9999): such a value stays the text that it is.
    return _or_text(getattr(datetime, kind).fromisoformat)


def _array_of(decode: Decoder) -> Decoder:
    def array(items: list[Any]) -> list[Any]:
        # An array of several dimensions is a list of lists.
        return [item if item is None else array(item) if isinstance(item, list) else decode(item) for item in items]

    return array


def _or_text(decode: Decoder) -> Decoder:
    def lenient(value: str) -> Any:
        try:
            return decode(value)
        except ValueError:
            return value

    return lenient
