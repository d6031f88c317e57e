"""Results that are not JSON: the path of the culprit and what to write instead."""

from __future__ import annotations

import math
from collections import OrderedDict, namedtuple
from datetime import date
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any

import pytest

from magic import OutputError
from magic._output import FRAME_LIMIT, encode_output

Point = namedtuple("Point", "x y")


class Number(IntEnum):
    ONE = 1


class Word(StrEnum):
    TWO = "two"


class Text(str):
    __slots__ = ()


GOOD: list[tuple[Any, str]] = [
    (None, "null"),
    ({"a": [1, 2.5, True, None, "ä\u2028"]}, '{"a":[1,2.5,true,null,"ä\u2028"]}'),
    ((1, (2,)), "[1,[2]]"),
    ([Number.ONE, Word.TWO, Text("t")], '[1,"two","t"]'),
    ({Text("k"): Word.TWO}, '{"k":"two"}'),
    (OrderedDict(a=1), '{"a":1}'),
    (Point(1, 2), "[1,2]"),
    ([2**64 - 1, -(2**63)], "[18446744073709551615,-9223372036854775808]"),
    ({"digits": "1" * 30, "float": 1234567890123456789.0}, '{"digits":"' + "1" * 30 + '","float":1.2345678901234568e+18}'),
]


@pytest.mark.parametrize(("value", "text"), GOOD)
def test_json_is_written(value: Any, text: str) -> None:
    assert encode_output(value).decode() == text


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


CYCLE: dict[str, Any] = {"a": [0]}
CYCLE["a"].append(CYCLE)

BAD: dict[str, tuple[Any, str, str]] = {
    "set": ({"a": [{1}]}, "/a/0", "sorted(value)"),
    "bytes": ({"a": b"x"}, "/a", "decode()"),
    "decimal": ([Decimal("1.10")], "/0", "str(value)"),
    "date": ({"when": date(2024, 1, 1)}, "/when", "isoformat()"),
    "nan": ({"a": {"b": [1.0, math.nan]}}, "/a/b/1", "not a JSON number"),
    "infinity": (-math.inf, "", "not a JSON number"),
    "key": ({"a": {1: 2}}, "/a", "only strings as keys"),
    "key among many": ([{"x": 1, None: 2}], "/0", "only strings as keys"),
    "tuple key": ({(1, 2): 1}, "", "only strings as keys"),
    "cycle": (CYCLE, "/a/1", "contains itself"),
    "generator": ({"g": (n for n in [1])}, "/g", "list(value)"),
    "object": ([[object()]], "/0/0", "dict, list, str"),
    "class": ({"t": int}, "/t", "parentheses"),
    "pointer": ({"a/b": {"c~d": {2}}}, "/a~1b/c~0d", "sorted"),
    "surrogate": ({"a": ["ok", "\ud800"]}, "/a/1", "surrogate"),
    "surrogate key": ({"\ud800": 1}, "/?", "surrogate"),
    "long integer": ({"n": [10**5000]}, "/n/0", "64 bits"),
    "wide integer": ({"n": [1, 2**64]}, "/n/1", "64 bits"),
    "wide negative integer": ([-(2**63) - 1], "/0", "64 bits"),
    "too deep": (nested(100), "/0/0/0/0/0/0/0/0", "more than 100 levels"),
}


@pytest.mark.parametrize("case", BAD)
def test_the_culprit_is_named(case: str) -> None:
    value, path, advice = BAD[case]
    with pytest.raises(OutputError) as caught:
        encode_output(value)
    assert caught.value.path == path
    assert advice in str(caught.value)


def test_depth_up_to_the_limit_passes() -> None:
    assert encode_output(nested(99)) == b"[" * 99 + b"]" * 99


def test_a_dict_that_lies_is_an_error_and_not_a_crash() -> None:
    class Liar(dict):  # type: ignore[type-arg]
        def items(self) -> Any:
            raise ZeroDivisionError

    with pytest.raises(OutputError):
        encode_output([Liar(a=[1])])


def test_a_coroutine_is_told_by_its_missing_await() -> None:
    async def work() -> None:
        pass

    pending = work()
    with pytest.raises(OutputError, match="write await"):
        encode_output({"a": pending})
    pending.close()


def test_the_value_is_not_changed() -> None:
    value = {"a": [{"b": (1, 2)}], "c": CYCLE["a"][:1]}
    before = repr(value)
    encode_output(value)
    assert repr(value) == before


@pytest.mark.parametrize(
    ("body", "path"), [("return {'a': [{1}]}", "/a/0"), (f"return ['x' * {FRAME_LIMIT}]", ""), ("return {1: 2}", "")]
)
def test_the_worker_reports_it(run: Any, body: str, path: str) -> None:
    error = run(body)["error"]
    assert (error["kind"], error["path"]) == ("output", path)
    assert error["message"]


def test_the_largest_output_passes(run: Any) -> None:
    size = FRAME_LIMIT - len('{"id":0,"result":""}')
    assert len(run(f"return 'x' * {size}")["result"]) == size
    assert run(f"return 'x' * {size + 1}")["error"]["kind"] == "output"


def test_an_output_error_of_the_authors_making_is_raised(run: Any) -> None:
    assert run("raise OutputError('mine', '/x')")["error"]["kind"] == "raised"
