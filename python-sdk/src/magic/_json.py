"""JSON by the interpreter's own accelerator, without the package around it.

``json`` brings regular expressions and with them a megabyte that every fork
would carry, and makes an encoder anew for each value. An interpreter without
the accelerator, and texts that are not as the supervisor writes them, get the
package.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Encoder = Callable[[object, int], Iterable[str]]

__all__ = ["ascii_pieces", "parse", "pieces"]


class _Rules:
    """What a scanner asks the decoder it belongs to."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    # The three names that are no JSON are names that float knows.
    parse_constant = float


def _unknown(value: object) -> object:
    raise TypeError(f"an object of type {type(value).__name__} is not JSON")


_scan: Callable[[str, int], tuple[object, int]]

try:
    from _json import encode_basestring, encode_basestring_ascii, make_encoder, make_scanner
except ImportError:
    from json import JSONDecoder, JSONEncoder

    def _encoder(ensure_ascii: bool) -> Encoder:
        encode = JSONEncoder(
            allow_nan=False, ensure_ascii=ensure_ascii, check_circular=False, separators=(",", ":"), default=_unknown
        ).encode
        return lambda value, _level: (encode(value),)

    _scan = JSONDecoder().scan_once  # type: ignore[attr-defined,unused-ignore]

else:

    def _encoder(ensure_ascii: bool) -> Encoder:
        strings = encode_basestring_ascii if ensure_ascii else encode_basestring
        encoder: Encoder = make_encoder(None, _unknown, strings, None, ":", ",", False, False, False)
        return encoder

    _scan = make_scanner(_Rules)  # type: ignore[arg-type,unused-ignore]


#: The pieces of a value's JSON text; cycles are not looked for, and numbers that JSON does not have are refused.
pieces = _encoder(ensure_ascii=False)
#: The same in ASCII alone.
ascii_pieces = _encoder(ensure_ascii=True)


def parse(text: str) -> object:
    """The value of a JSON text; raises ValueError."""
    try:
        value, end = _scan(text, 0)
    except (StopIteration, SystemError):
        # It finds no value, or not the package that has the error to raise.
        end = -1
    if end == len(text):
        return value
    # Blanks around the value, or an error to be told.
    from json import loads

    return loads(text)
