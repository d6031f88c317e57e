"""Answers that a test gives outright, written as the supervisor would write them.

A test speaks in what the controller gets: rows, a number, a value, a body. The
clients expect the answer of the wire, and reading it is part of what a test
should run.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from magic.testing._database import rows_to_wire
from magic.testing._http import reply_to_wire
from magic.testing._types import common_kind

__all__ = ["as_answer"]


def as_answer(method: str, params: Mapping[str, Any], value: Any) -> Any:
    """The answer to a call that makes its client return ``value``."""
    if method in ("db.query", "db.raw", "db.insert", "db.update", "db.delete"):
        return _rows(value, params)
    if method == "db.query_one":
        answer = _rows([] if value is None else [value], params)
        return {"columns": answer["columns"], "row": next(iter(answer["rows"]), None)}
    if method == "http.request":
        return reply_to_wire(value, params["url"], method=params["method"])
    if method == "cache.get":
        return {"hit": value is not None, "value": value}
    if method == "queue.publish":
        return {"id": value or "msg_1"}
    if method == "queue.receive":
        return {"messages": [_message(index, item) for index, item in enumerate(value or [])]}
    if method == "fs.temp":
        return {"path": str(value)}
    return value


def _rows(value: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    if value is None:
        # The usual answer to a write whose result nobody looks at.
        value = len(params.get("rows", ()))
    if isinstance(value, int):
        return {"columns": {}, "rows": [], "count": value}
    rows = [value] if isinstance(value, Mapping) else list(value)
    if not all(isinstance(row, Mapping) for row in rows):
        raise TypeError("the test's answer to a call of the database is a row, a list of rows, or a number")
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: common_kind(row.get(name) for row in rows) for name in names}
    filled = [{name: row.get(name) for name in names} for row in rows]
    return {**rows_to_wire(columns, filled), "count": len(rows)}


def _message(index: int, item: Any) -> dict[str, Any]:
    facts = {
        "id": f"msg_{index + 1}",
        "receipt": f"receipt_{index + 1}",
        "attempt": 1,
        "published_at": datetime.datetime.now(datetime.UTC).isoformat(),
    }
    if isinstance(item, Mapping) and "message" in item and item.keys() <= {*facts, "message"}:
        return {**facts, **item}
    return {**facts, "message": item}
