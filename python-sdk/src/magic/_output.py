"""Turning a controller's result into JSON, or saying exactly which part cannot be.

``json`` alone would write NaN as an invalid number and turn the key 1 into the
key "1" without a word; both would change an answer silently. So every value is
checked first. The check looks at the set of types of a container at once and
walks on only into containers, which keeps it far cheaper than the encoding.
"""

from __future__ import annotations

from magic._errors import OutputError
from magic._json import pieces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["FRAME_LIMIT", "NESTING_LIMIT", "encode_message", "encode_output"]

#: Bytes of one frame, either way.
FRAME_LIMIT = 8 * 1024 * 1024
#: Levels of nesting of one frame.
NESTING_LIMIT = 100
# The result sits inside the frame's own object.
_OUTPUT_NESTING = NESTING_LIMIT - 1

_PLAIN = frozenset((str, int, bool, type(None), float))
_STRING_ONLY = frozenset((str,))

# Nineteen digits are the fewest that may not fit into 64 bits.
_MANY_DIGITS = b"0" * 19
_DIGITS_ALIKE = bytes(ord("0") if chr(byte) in "0123456789" else byte for byte in range(256))
_SMALLEST = -(2**63)
_LARGEST = 2**64 - 1

_ADVICE = {
    "set": "return a list, for example sorted(value)",
    "frozenset": "return a list, for example sorted(value)",
    "bytes": "return text: value.decode() or base64.b64encode(value).decode()",
    "bytearray": "return text: value.decode() or base64.b64encode(value).decode()",
    "memoryview": "return text: bytes(value).decode() or base64",
    "Decimal": "return str(value), which keeps every digit",
    "Fraction": "return str(value)",
    "datetime": "return value.isoformat()",
    "date": "return value.isoformat()",
    "time": "return value.isoformat()",
    "timedelta": "return value.total_seconds()",
    "UUID": "return str(value)",
    "complex": "return [value.real, value.imag]",
    "generator": "return a list: list(value)",
    "map": "return a list: list(value)",
    "filter": "return a list: list(value)",
    "zip": "return a list: list(value)",
    "range": "return a list: list(value)",
    "dict_keys": "return a list: list(value)",
    "dict_values": "return a list: list(value)",
    "dict_items": "return a list or a dict: dict(value)",
    "deque": "return a list: list(value)",
    "coroutine": "write await before the call that made it",
    "ndarray": "return value.tolist()",
    "DataFrame": "return value.to_dict('records')",
    "PosixPath": "return str(value); mind that what lies there is gone after the request",
    "Response": "return value.json() or value.text",
    "Message": "return value.body",
    "Ellipsis": "the ... was probably a placeholder",
}


def encode_message(message: dict[str, object]) -> bytes:
    """One message of the runner's own making; lone surrogates become question marks."""
    return "".join(pieces(message, 0)).encode("utf-8", "replace")


def encode_output(value: object) -> bytes:
    """The JSON text of a controller's result; raises OutputError with the path of the culprit."""
    try:
        _check(value, [], [])
        # Cycles are found by the check before; the encoder need not look again.
        text = "".join(pieces(value, 0)).encode("utf-8")
        if _MANY_DIGITS in text.translate(_DIGITS_ALIKE):
            _refuse_wide_integers(value)
        return text
    except (OutputError, MemoryError):
        raise
    except UnicodeEncodeError:
        raise OutputError("the text holds half of a surrogate pair, which is not a character", _find_surrogate(value)) from None
    except ValueError as error:
        # Floats that are not numbers are found without a walk of every float:
        # only now, when the encoder has refused, is the place searched.
        raise OutputError(*_find_number(value, error)) from None
    except BaseException as error:
        # A subclass of dict or list may have methods that raise, or answer the
        # encoder differently than the check.
        raise OutputError(f"writing the value as JSON raised {type(error).__name__}") from None


def _pointer(path: Iterable[object]) -> str:
    steps = []
    for step in path:
        text = step if isinstance(step, str) else str(step)
        steps.append("/" + text[:200].replace("~", "~0").replace("/", "~1"))
    return "".join(steps)


def _check(value: object, path: list[object], above: list[object]) -> None:
    if isinstance(value, (str, int, float)) or value is None:
        return
    if isinstance(value, dict):
        if len(path) >= _OUTPUT_NESTING:
            raise _too_deep(value, path, above)
        if not _STRING_ONLY.issuperset(map(type, value)):
            _check_keys(value, path)
        if _PLAIN.issuperset(map(type, value.values())):
            return
        above.append(value)
        for key, item in value.items():
            if type(item) not in _PLAIN:
                path.append(key)
                _check(item, path, above)
                path.pop()
        above.pop()
    elif isinstance(value, (list, tuple)):
        if len(path) >= _OUTPUT_NESTING:
            raise _too_deep(value, path, above)
        if _PLAIN.issuperset(map(type, value)):
            return
        above.append(value)
        for index, item in enumerate(value):
            if type(item) not in _PLAIN:
                path.append(index)
                _check(item, path, above)
                path.pop()
        above.pop()
    else:
        raise OutputError(_refusal(value), _pointer(path))


def _check_keys(value: dict[object, object], path: list[object]) -> None:
    for key in value:
        if not isinstance(key, str):
            shown = repr(key)[:100] if isinstance(key, (int, float, type(None), bytes)) else "..."
            raise OutputError(
                f"a JSON object has only strings as keys, not {type(key).__name__} ({shown}): write {{str(key): ...}}",
                _pointer(path),
            )


def _too_deep(value: object, path: list[object], above: list[object]) -> OutputError:
    """A cycle is the usual cause of great depth, so the path shown is where it first closes."""
    seen: dict[int, int] = {}
    for depth, container in enumerate([*above, value]):
        first = seen.setdefault(id(container), depth)
        if first != depth:
            where = _pointer(path[:first]) or "the top"
            return OutputError(f"the value contains itself: this is again what is at {where}", _pointer(path[:depth]))
    return OutputError(f"the value is nested more than {NESTING_LIMIT} levels deep", _pointer(path[:8]))


def _refusal(value: object) -> str:
    name = type(value).__name__
    advice = _ADVICE.get(name)
    if advice is None:
        if hasattr(type(value), "__dataclass_fields__"):
            advice = "return dataclasses.asdict(value)"
        elif hasattr(type(value), "model_dump"):
            advice = "return value.model_dump(mode='json')"
        elif hasattr(type(value), "item") and hasattr(type(value), "dtype"):
            advice = "return value.item()"
        elif isinstance(value, type) or callable(value):
            advice = "the call's parentheses may be missing"
        else:
            advice = "return a dict, list, str, int, float, bool or None"
    return f"a value of type {name[:100]} is not JSON: {advice}"


def _leaves(value: object, path: tuple[object, ...]) -> Iterable[tuple[tuple[object, ...], object]]:
    """Every scalar and every key with its path; only called on a value that passed the check."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key), key
            yield from _leaves(item, (*path, key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _leaves(item, (*path, index))
    else:
        yield path, value


def _refuse_wide_integers(value: object) -> None:
    # Most readers of JSON, the supervisor among them, turn such a number into
    # the nearest float, which would change the answer silently.
    for path, leaf in _leaves(value, ()):
        if isinstance(leaf, int) and not _SMALLEST <= leaf <= _LARGEST:
            raise OutputError("the integer does not fit into 64 bits: return str(value)", _pointer(path))


def _find_number(value: object, error: ValueError) -> tuple[str, str]:
    for path, leaf in _leaves(value, ()):
        if isinstance(leaf, float) and leaf - leaf != 0:
            return f"{float(leaf)!r} is not a JSON number: return None or leave the field out", _pointer(path)
        if isinstance(leaf, int) and leaf.bit_length() > 14_000:
            return "the integer does not fit into 64 bits: return it as text", _pointer(path)
    return f"writing the value as JSON failed: {error}"[:500], ""


def _find_surrogate(value: object) -> str:
    for path, leaf in _leaves(value, ()):
        if isinstance(leaf, str):
            try:
                leaf.encode("utf-8")
            except UnicodeEncodeError:
                return _pointer(path).encode("utf-8", "replace").decode()
    return ""
