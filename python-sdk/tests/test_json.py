"""JSON by the accelerator says what the json package says, with it and without."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from magic._json import ascii_pieces, parse, pieces

SDK = Path(__file__).resolve().parent.parent / "src"

VALUES = [
    None,
    True,
    -1,
    2**70,
    1.5,
    1e300,
    "",
    'quotes " and \\ and \n and \x00',
    "täglich 😀",
    [],
    {},
    [1, [2, [3, {"a": [None, False]}]]],
    {"a": {"b": {}}, "c": "d", "": 0},
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_come_back_as_they_went(value: object) -> None:
    text = "".join(pieces(value, 0))
    assert text == json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    assert "".join(ascii_pieces(value, 0)) == json.dumps(value, separators=(",", ":"))
    assert parse(text) == value
    assert parse(f" \n{text}\t ") == value


@pytest.mark.parametrize(
    "text", ["", " ", "{", "[1,", "tru", '"open', '{"a":1}x', "{'a':1}", "[1 2]", '{"a" 1}', '"\n"', "01", "\ufeff{}"]
)
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"line 1|BOM"):
        parse(text)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_json_does_not_have_are_refused(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        "".join(pieces([number], 0))


def _in_a_fresh_interpreter(code: str) -> str:
    command = [sys.executable, "-I", "-c", f"import sys; sys.path[:0] = [{str(SDK)!r}]\n{code}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_an_interpreter_without_the_accelerator_does_the_same() -> None:
    code = """
sys.modules["_json"] = None
from magic._json import ascii_pieces, parse, pieces
value = {"a": [1, None, "ü"]}
text = "".join(pieces(value, 0))
assert parse(text) == value
print(ascii(text), "".join(ascii_pieces("ü", 0)))
try:
    parse("{")
except ValueError:
    print("refused")
"""
    assert _in_a_fresh_interpreter(code).splitlines() == ['\'{"a":[1,null,"\\xfc"]}\' "\\u00fc"', "refused"]


def test_an_error_is_told_although_nothing_has_imported_the_package() -> None:
    code = """
from magic._json import parse
assert "json" not in sys.modules, "it would prove nothing"
try:
    parse("{")
except ValueError as error:
    print(type(error).__name__)
"""
    assert _in_a_fresh_interpreter(code) == "JSONDecodeError"
