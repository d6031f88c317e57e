"""Conditions of the database in memory, with SQL's third truth value.

A comparison with NULL is neither true nor false but unknown, and stays so under
``not``: a row is taken only if its condition is true. None stands for unknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from magic.testing._refusal import misuse, shortened
from magic.testing._types import coerce, from_wire

__all__ = ["Condition", "condition", "holds_for_all"]

Truth = bool | None
Condition = Callable[[Mapping[str, Any]], Truth]

_DEEPEST = 16
_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "lt": lambda left, right: left < right,
    "lte": lambda left, right: left <= right,
    "gt": lambda left, right: left > right,
    "gte": lambda left, right: left >= right,
}


def condition(where: object, kinds: Callable[[str], str | None], depth: int = 0) -> Condition:
    """Reads a condition; ``kinds`` tells a column's kind and refuses names that are none."""
    if not isinstance(where, dict):
        raise misuse("a condition is an object of columns and values")
    if depth > _DEEPEST:
        raise misuse(f"a condition is nested at most {_DEEPEST} levels deep")
    terms: list[Condition] = []
    for key, value in where.items():
        if key in ("and", "or"):
            if not isinstance(value, list):
                raise misuse(f"`{key}` takes a list of conditions")
            terms.append((_all if key == "and" else _any)([condition(one, kinds, depth + 1) for one in value]))
        elif key == "not":
            terms.append(_negated(condition(value, kinds, depth + 1)))
        elif isinstance(value, dict) and not any(name.startswith("$") for name in value):
            kind = kinds(key)
            if not value:
                raise misuse(f"the condition on `{shortened(key)}` has no operator")
            terms += [_comparison(key, kind, operator, operand) for operator, operand in value.items()]
        else:
            terms.append(_comparison(key, kinds(key), "eq", value))
    return _all(terms)


def holds_for_all(where: object) -> bool:
    """Whether a condition says nothing, however it is written: an empty one is as good as none."""
    if not isinstance(where, dict):
        return where is None
    parts = {"and": lambda value: all(map(holds_for_all, value)), "or": lambda value: any(map(holds_for_all, value))}
    return all(key in parts and isinstance(value, list) and parts[key](value) for key, value in where.items())


def _all(terms: list[Condition]) -> Condition:
    def check(row: Mapping[str, Any]) -> Truth:
        found = {term(row) for term in terms}
        return False if False in found else None if None in found else True

    return check


def _any(terms: list[Condition]) -> Condition:
    def check(row: Mapping[str, Any]) -> Truth:
        found = {term(row) for term in terms}
        return True if True in found else None if None in found else False

    return check


def _negated(term: Condition) -> Condition:
    def check(row: Mapping[str, Any]) -> Truth:
        truth = term(row)
        return None if truth is None else not truth

    return check


def _comparison(column: str, kind: str | None, operator: str, operand: object) -> Condition:
    if operator == "is_null":
        if not isinstance(operand, bool):
            raise misuse("`is_null` takes true or false")
        return lambda row: (row[column] is None) == operand
    if operator in ("eq", "ne") and operand is None:
        return lambda row: (row[column] is None) == (operator == "eq")
    if operator in ("in", "not_in"):
        if not isinstance(operand, list):
            raise misuse(f"`{operator}` takes a list")
        inside = _one_of(column, [coerce(kind, from_wire(item), column) for item in operand])
        return inside if operator == "in" else _negated(inside)
    if operand is None:
        raise misuse(f"`{operator}` compares with None, which has no order")
    value = coerce(kind, from_wire(operand), column)
    if operator == "eq":
        return _known(column, lambda held: bool(held == value))
    if operator == "ne":
        return _known(column, lambda held: bool(held != value))
    if operator in _ORDERS:
        compare = _ORDERS[operator]
        return _known(column, lambda held: compare(held, value))
    if operator in ("like", "ilike"):
        if not isinstance(value, str) or kind not in ("text", None):
            raise misuse(f"`{operator}` compares text, and the column `{column}` holds {kind}")
        pattern = re.compile(_pattern(value), re.DOTALL | (re.IGNORECASE if operator == "ilike" else 0))
        return _known(column, lambda held: pattern.fullmatch(held) is not None)
    raise misuse(f"there is no operator `{shortened(operator)}`")


def _one_of(column: str, wanted: list[Any]) -> Condition:
    if None in wanted:
        # A null in the list stands for itself, so nothing stays unknown.
        return lambda row: row[column] in wanted
    # Of an empty list nothing needs to be known.
    return _known(column, lambda value: value in wanted) if wanted else lambda row: False


def _known(column: str, test: Callable[[Any], bool]) -> Condition:
    def check(row: Mapping[str, Any]) -> Truth:
        value = row[column]
        if value is None:
            return None
        try:
            return test(value)
        except TypeError:
            raise misuse(f"values of the column `{column}` cannot be compared with this") from None

    return check


def _pattern(text: str) -> str:
    """LIKE as a regular expression: % for any text, _ for one character, and a backslash before either."""
    written = []
    letters = iter(text)
    for letter in letters:
        if letter == "%":
            written.append(".*")
        elif letter == "_":
            written.append(".")
        else:
            written.append(re.escape(next(letters, "\\") if letter == "\\" else letter))
    return "".join(written)
