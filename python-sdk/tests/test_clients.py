"""What the clients send for what a controller writes, and what they make of the answer."""

from __future__ import annotations

import asyncio
import datetime
import json
import math
from collections.abc import Callable
from decimal import Decimal
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from conftest import as_execute
from driver import Template
from magic import BackendError
from magic._clients import Clients
from magic._clients.values import encode_value, encode_where, rows_of
from magic._output import encode_output


class Line:
    """Keeps the one call and gives the one answer."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer
        self.sent: tuple[str, Any] | None = None

    async def _reply(self) -> Any:
        return self.answer

    def call(self, method: str, params: dict[str, object]) -> Any:
        self.sent = (method, json.loads(encode_output(params)))
        return self._reply()

    def notify(self, method: str, params: dict[str, object]) -> None:
        raise AssertionError("clients only call")


def ask(use: Callable[[Clients], Any], answer: Any = None) -> tuple[tuple[str, Any], Any]:
    line = Line(answer)

    async def run() -> Any:
        return await use(Clients(line))

    result = asyncio.run(run())
    assert line.sent is not None
    return line.sent, result


class Level(IntEnum):
    HIGH = 3


EAST = datetime.timezone(datetime.timedelta(hours=2))
MEAN = datetime.timezone(datetime.timedelta(minutes=19, seconds=32))

VALUES: list[tuple[Any, Any]] = [
    (None, None),
    (True, True),
    ("ü", "ü"),
    (2**63 - 1, 2**63 - 1),
    (-(2**63), -(2**63)),
    (2**63, {"$decimal": "9223372036854775808"}),
    (-(2**63) - 1, {"$decimal": "-9223372036854775809"}),
    (Level.HIGH, 3),
    (1.5, 1.5),
    (math.inf, {"$float": "Infinity"}),
    (-math.inf, {"$float": "-Infinity"}),
    (Decimal("1.10"), {"$decimal": "1.10"}),
    (Decimal("-1E+3"), {"$decimal": "-1E+3"}),
    (Decimal("NaN123"), {"$decimal": "NaN"}),
    (datetime.datetime(2026, 1, 1, 10, 0, 0, 1), {"$datetime": "2026-01-01T10:00:00.000001"}),
    (datetime.datetime(2026, 1, 1, 10, tzinfo=EAST), {"$datetime": "2026-01-01T10:00:00+02:00"}),
    (datetime.datetime(1900, 1, 1, 0, 19, 32, tzinfo=MEAN), {"$datetime": "1900-01-01T00:00:00+00:00"}),
    (datetime.date(2026, 1, 1), {"$date": "2026-01-01"}),
    (datetime.time(10, 0, 0, 1), {"$time": "10:00:00.000001"}),
    (UUID(int=1), {"$uuid": "00000000-0000-0000-0000-000000000001"}),
    (b"\0\xff", {"$bytes": "AP8="}),
    (bytearray(b"a"), {"$bytes": "YQ=="}),
    (memoryview(b"a"), {"$bytes": "YQ=="}),
    ((1, [Decimal(1), None]), [1, [{"$decimal": "1"}, None]]),
    ({"a": {"b": [1]}}, {"a": {"b": [1]}}),
    ({"$a": 1}, {"$json": {"$a": 1}}),
    ({"a": [{"$a": 1}]}, {"$json": {"a": [{"$a": 1}]}}),
    ({}, {}),
]


@pytest.mark.parametrize(("value", "wire"), VALUES, ids=lambda value: repr(value)[:40])
def test_values_on_the_wire(value: Any, wire: Any) -> None:
    assert encode_value(value, "x") == wire


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1}, "x is of type set.*sorted"),
        (datetime.timedelta(1), "x is of type timedelta.*total_seconds"),
        (object(), "x is of type object.*str"),
        ([1, {2}], r"x\[1\] is of type set"),
        ({"a": [Decimal(1)]}, r"x\['a'\]\[0\] is of type Decimal inside a JSON value"),
        ({1: 2}, "has the key 1"),
        (datetime.time(1, tzinfo=EAST), "time zone"),
        (10**5000, "too many digits"),
    ],
    ids=lambda value: str(type(value)),
)
def test_values_that_no_column_holds(value: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        encode_value(value, "x")


def test_values_that_contain_themselves_are_refused() -> None:
    inner: dict[str, Any] = {}
    inner["a"] = inner
    with pytest.raises(ValueError, match="levels deep"):
        encode_value(inner, "x")
    with pytest.raises(ValueError, match="levels deep"):
        encode_where({"not": _deep(100)})


def _deep(levels: int) -> dict[str, Any]:
    return {"not": _deep(levels - 1)} if levels else {"a": 1}


def test_not_a_number_is_told_by_name() -> None:
    assert encode_value(math.nan, "x") == {"$float": "NaN"}


def test_conditions_on_the_wire() -> None:
    where = {"a": Decimal(1), "b": {"gte": datetime.date(2026, 1, 1), "in": (1, 2)}, "or": ({"c": None}, {"not": {"d": b""}})}
    assert encode_where(where) == {
        "a": {"$decimal": "1"},
        "b": {"gte": {"$date": "2026-01-01"}, "in": [1, 2]},
        "or": [{"c": None}, {"not": {"d": {"$bytes": ""}}}],
    }
    assert encode_where({"j": {"eq": {"$a": 1}}}) == {"j": {"eq": {"$json": {"$a": 1}}}}


def test_rows_become_python_values() -> None:
    columns = {
        "n": "decimal",
        "at": "datetime",
        "d": "date",
        "t": "time",
        "u": "uuid",
        "x": "bytes",
        "f": "float",
        "a": "decimal[]",
    }
    row = {
        "id": 1, "n": "1.10", "at": "2026-01-01T10:00:00.000001+00:00", "d": "2026-01-01", "t": "10:00:00", "x": "AP8=",
        "u": "00000000-0000-0000-0000-000000000001", "f": "-Infinity", "a": ["1.0", None, ["2"]], "j": {"n": "1"},
    }  # fmt: skip
    empty = dict.fromkeys(row)
    odd = {**empty, "at": "infinity", "d": "0044-03-15 BC", "f": 1}
    first, second, third = rows_of({"columns": columns, "rows": [dict(row), dict(empty), odd]})
    assert first == {
        "id": 1, "n": Decimal("1.10"), "at": datetime.datetime(2026, 1, 1, 10, 0, 0, 1, datetime.UTC),
        "d": datetime.date(2026, 1, 1), "t": datetime.time(10), "x": b"\0\xff", "u": UUID(int=1), "f": -math.inf,
        "a": [Decimal("1.0"), None, [Decimal(2)]],
        "j": {"n": "1"},
    }  # fmt: skip
    assert second == empty
    # What Python's calendar has no place for stays text.
    assert (third["at"], third["d"], third["f"]) == ("infinity", "0044-03-15 BC", 1.0)
    assert str(first["n"]) == "1.10"


ROWS = {"columns": {"n": "decimal"}, "rows": [{"n": "1.5"}], "count": 1}

CALLS: list[tuple[Callable[[Clients], Any], Any, str, Any, Any]] = [
    (lambda c: c.db.query("t"), ROWS, "db.query", {"table": "t"}, [{"n": Decimal("1.5")}]),
    (
        lambda c: c.db.query("t", {"a": 1}, columns=("n",), order_by="-n", limit=0, offset=2),
        ROWS,
        "db.query",
        {"table": "t", "where": {"a": 1}, "columns": ["n"], "order_by": "-n", "limit": 0, "offset": 2},
        [{"n": Decimal("1.5")}],
    ),
    (
        lambda c: c.db.query_one("t"),
        {"columns": {"n": "decimal"}, "row": {"n": "1"}},
        "db.query_one",
        {"table": "t"},
        {"n": Decimal(1)},
    ),
    (lambda c: c.db.query_one("t", {}), {"columns": {}, "row": None}, "db.query_one", {"table": "t", "where": {}}, None),
    (lambda c: c.db.count("t", {"a": None}), 3, "db.count", {"table": "t", "where": {"a": None}}, 3),
    (
        lambda c: c.db.insert("t", {"n": Decimal(1)}),
        {"count": 1},
        "db.insert",
        {"table": "t", "rows": [{"n": {"$decimal": "1"}}]},
        1,
    ),
    (
        lambda c: c.db.insert("t", {"a": 1}, returning=["n"]),
        ROWS,
        "db.insert",
        {"table": "t", "rows": [{"a": 1}], "returning": ["n"]},
        {"n": Decimal("1.5")},
    ),
    (
        lambda c: c.db.insert("t", [{"a": 1}], returning=["n"]),
        ROWS,
        "db.insert",
        {"table": "t", "rows": [{"a": 1}], "returning": ["n"]},
        [{"n": Decimal("1.5")}],
    ),
    (
        lambda c: c.db.update("t", set={"a": None}, where={"b": 1}),
        {"count": 2},
        "db.update",
        {"table": "t", "set": {"a": None}, "where": {"b": 1}},
        2,
    ),
    (
        lambda c: c.db.update("t", {"a": 1}, {}, returning=["n"]),
        ROWS,
        "db.update",
        {"table": "t", "set": {"a": 1}, "where": {}, "returning": ["n"]},
        [{"n": Decimal("1.5")}],
    ),
    (lambda c: c.db.delete("t", {"b": 1}), {"count": 2}, "db.delete", {"table": "t", "where": {"b": 1}}, 2),
    (
        lambda c: c.db.raw("select $1", [b"a"]),
        ROWS,
        "db.raw",
        {"sql": "select $1", "params": [{"$bytes": "YQ=="}]},
        [{"n": Decimal("1.5")}],
    ),
    (lambda c: c.secrets.get("K"), "v", "secrets.get", {"key": "K"}, "v"),
    (lambda c: c.cache.get("k"), {"hit": False, "value": None}, "cache.get", {"key": "k"}, None),
    (lambda c: c.cache.get("k", 5), {"hit": False, "value": None}, "cache.get", {"key": "k"}, 5),
    (lambda c: c.cache.get("k", 5), {"hit": True, "value": None}, "cache.get", {"key": "k"}, None),
    (lambda c: c.cache.set("k", None), None, "cache.set", {"key": "k", "value": None}, None),
    (lambda c: c.cache.set("k", 1, ttl=0.0001), None, "cache.set", {"key": "k", "value": 1, "ttl_ms": 1}, None),
    (
        lambda c: c.cache.set("k", 1, ttl=datetime.timedelta(minutes=1)),
        None,
        "cache.set",
        {"key": "k", "value": 1, "ttl_ms": 60_000},
        None,
    ),
    (lambda c: c.cache.delete("k"), None, "cache.delete", {"key": "k"}, None),
    (lambda c: c.queue.publish("q", None), {"id": "m1"}, "queue.publish", {"queue": "q", "message": None}, "m1"),
    (lambda c: c.queue.receive("q"), {"messages": []}, "queue.receive", {"queue": "q", "max": 1}, []),
    (lambda c: c.queue.ack("q", "r"), None, "queue.ack", {"queue": "q", "receipt": "r"}, None),
    (lambda c: c.fs.temp(), {"path": "/tmp/a"}, "fs.temp", {}, Path("/tmp/a")),
    (lambda c: c.fs.temp, {"path": "/tmp/a"}, "fs.temp", {}, Path("/tmp/a")),
    (lambda c: c.metrics.counter("n").inc(), None, "metrics.inc", {"name": "n", "amount": 1}, None),
    (lambda c: c.metrics.histogram("n").observe(0.5), None, "metrics.observe", {"name": "n", "value": 0.5}, None),
]


@pytest.mark.parametrize(("use", "answer", "method", "params", "result"), CALLS)
def test_calls(use: Callable[[Clients], Any], answer: Any, method: str, params: Any, result: Any) -> None:
    # The answer's rows are changed in place.
    assert ask(use, json.loads(json.dumps(answer))) == ((method, params), result)


def test_rows_of_sql_text_know_their_number() -> None:
    _, rows = ask(lambda clients: clients.db.raw("update t"), {"columns": {}, "rows": [], "count": 7})
    assert (rows, rows.row_count) == ([], 7)


def test_messages_can_be_acknowledged() -> None:
    facts = {"id": "m1", "receipt": "r1", "message": {"n": 1}, "attempt": 2, "published_at": "2026-01-01T10:00:00.5+00:00"}

    async def receive(clients: Clients) -> Any:
        message = (await clients.queue.receive("q", 5))[0]
        await message.ack()
        return message

    line, message = ask(receive, {"messages": [facts]})
    assert line == ("queue.ack", {"queue": "q", "receipt": "r1"})
    assert (message.id, message.body, message.attempt, message.queue) == ("m1", {"n": 1}, 2, "q")
    assert message.published_at == datetime.datetime(2026, 1, 1, 10, 0, 0, 500_000, datetime.UTC)
    assert "m1" in repr(message)
    _, (other,) = ask(lambda clients: clients.queue.receive("q"), {"messages": [{**facts, "published_at": 1767261600500}]})
    assert other.published_at == message.published_at
    assert ask(lambda clients: clients.queue.ack("q", message))[0] == line


REQUESTS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"json": {"n": "ü"}}, {"headers": [["content-type", "application/json"]], "body": '{"n":"ü"}'}),
    ({"json": 0}, {"headers": [["content-type", "application/json"]], "body": "0"}),
    (
        {"json": [], "headers": {"Content-Type": "application/x"}},
        {"headers": [["Content-Type", "application/x"]], "body": "[]"},
    ),
    ({"data": "a"}, {"headers": [["content-type", "text/plain; charset=utf-8"]], "body": "a"}),
    ({"data": b"a"}, {"headers": [["content-type", "application/octet-stream"]], "body": "a"}),
    ({"data": b"\xff"}, {"headers": [["content-type", "application/octet-stream"]], "body_base64": "/w=="}),
    (
        {"data": [("a", "x y"), ("a", 2), ("b", None), ("c", True)]},
        {"headers": [["content-type", "application/x-www-form-urlencoded"]], "body": "a=x+y&a=2&c=true"},
    ),
    ({"headers": [("X-A", "1"), ("X-A", 2)]}, {"headers": [["X-A", "1"], ["X-A", "2"]]}),
    ({"params": {}}, {}),
    ({"params": {"q": "a&b", "n": [1, 2]}}, {"url": "https://h/p?x=1&q=a%26b&n=1&n=2#f"}),
    ({"timeout": 1.5}, {"timeout_ms": 1500}),
    ({"timeout": datetime.timedelta(seconds=2)}, {"timeout_ms": 2000}),
    ({"redirects": False}, {"redirects": False}),
    ({"redirects": True}, {}),
]


@pytest.mark.parametrize(("options", "sent"), REQUESTS)
def test_requests(options: dict[str, Any], sent: dict[str, Any]) -> None:
    answer = {"status": 200, "url": "https://h/p", "headers": [], "body": "", "redirects": 0}
    (_, params), _ = ask(lambda clients: clients.http.request("post", "https://h/p?x=1#f", **options), answer)
    assert params == {"method": "POST", "url": "https://h/p?x=1#f", **sent}


def _get_with_params(url: str, clients: Clients) -> Any:
    return clients.http.get(url, params={"b": 2})


def test_params_begin_a_query() -> None:
    answer = {"status": 200, "url": "u", "headers": [], "body": ""}
    urls = {}
    for url in ("https://h", "https://h?", "https://h?a=1&"):
        (_, params), _ = ask(partial(_get_with_params, url), answer)
        urls[url] = params["url"]
    assert list(urls.values()) == ["https://h?b=2", "https://h?b=2", "https://h?a=1&b=2"]


def respond(**changes: Any) -> Any:
    answer = {
        "status": 200,
        "url": "https://h/p?key=k",
        "headers": [["Content-Type", "text/plain; charset=latin-1"]],
        "body": "",
        **changes,
    }
    return ask(lambda clients: clients.http.get("https://h/p?key=k"), answer)[1]


def test_responses() -> None:
    headers = [["Content-Type", 'text/plain; charset="latin-1"'], ["Set-Cookie", "a=1"], ["set-cookie", "b=2"]]
    response = respond(status=404, headers=headers, body_base64="/A==")
    assert (response.status, response.status_code, response.ok, response.content, response.text) == (
        404,
        404,
        False,
        b"\xfc",
        "ü",
    )
    assert response.headers["SET-COOKIE"] == "a=1, b=2"
    assert response.headers.get_all("Set-Cookie") == ["a=1", "b=2"]
    assert ("content-type" in response.headers, response.headers.get("none"), len(response.headers)) == (True, None, 2)
    assert list(response.headers) == response.headers.keys() == ["content-type", "set-cookie"]
    assert respond(headers=[["content-type", "text/plain; charset=unknown"]], body="ü").text == "ü"
    assert respond(headers=[], body_base64="/w==").text == "\ufffd"
    assert repr(response) == "<Response 404>"


def test_json_of_responses() -> None:
    assert respond(body='{"id": [1]}')["id"] == [1]
    assert respond(body="[5]")[0] == 5
    with pytest.raises(KeyError, match=r"GET https://h/p \(status 402\) has no member 'id'"):
        _ = respond(status=402, body='{"error": 1}')["id"]
    with pytest.raises(BackendError, match="is not JSON") as caught:
        respond(status=502, body="<html>").json()
    assert caught.value.details == {"status": 502, "method": "GET", "url": "https://h/p"}


@pytest.mark.parametrize(
    ("status", "retriable"), [(400, False), (404, False), (429, True), (500, True), (501, False), (503, True)]
)
def test_bad_statuses_are_raised_on_demand(status: int, retriable: bool) -> None:
    response = respond(status=status)
    with pytest.raises(BackendError, match=str(status)) as caught:
        response.raise_for_status()
    assert (caught.value.retriable, caught.value.code) == (retriable, None)
    assert "key" not in str(caught.value)
    assert respond(status=399).raise_for_status().status == 399


WRONG: list[tuple[Callable[[Clients], Any], type[Exception], str]] = [
    (lambda c: c.db.query(7), TypeError, "table must be a str, not int"),  # type: ignore[arg-type]
    (lambda c: c.db.query("t", columns="id"), TypeError, r"columns must be a list of columns such as \[\"id\"\], not str"),
    (lambda c: c.db.query("t", columns=["id", 7]), TypeError, r"columns\[1\] must be a str"),  # type: ignore[list-item]
    (lambda c: c.db.query("t", where=[("a", 1)]), TypeError, "where must be a dict"),  # type: ignore[arg-type]
    (lambda c: c.db.query("t", where={"a": {"gt": {1}}}), TypeError, r"where\['a'\]\['gt'\] is of type set"),
    (lambda c: c.db.query("t", where={"a": {"=": 1}}), ValueError, "the operator '='.*none of eq, ne"),
    (lambda c: c.db.query("t", where={"and": {"a": 1}}), TypeError, r"where\['and'\] must be a list"),
    (lambda c: c.db.query("t", where={1: 2}), TypeError, "columns are named by a str"),  # type: ignore[dict-item]
    (lambda c: c.db.query("t", order_by=7), TypeError, "order_by must be a list"),  # type: ignore[arg-type]
    (lambda c: c.db.query("t", limit="5"), TypeError, "limit must be an int, not str"),  # type: ignore[arg-type]
    (lambda c: c.db.query("t", limit=True), TypeError, "limit must be an int, not bool"),
    (lambda c: c.db.query("t", offset=-1), ValueError, "offset must be at least 0"),
    (lambda c: c.db.insert("t", "row"), TypeError, "rows must be a dict or a list of dicts"),  # type: ignore[arg-type]
    (lambda c: c.db.insert("t", [["a"]]), TypeError, r"rows\[0\] must be a dict"),  # type: ignore[list-item]
    (lambda c: c.db.insert("t", {"a": {1}}), TypeError, r"row\['a'\] is of type set"),
    (lambda c: c.db.update("t", {"a": 1}, None), TypeError, "where must be a dict"),  # type: ignore[call-overload]
    (lambda c: c.db.raw("select 1", "a"), TypeError, "params must be a list"),
    (lambda c: c.http.get(7), TypeError, "url must be a str"),  # type: ignore[arg-type]
    (lambda c: c.http.post("u", json=1, data="a"), ValueError, "json and data exclude each other"),
    (lambda c: c.http.post("u", json={"a": Decimal(1)}), TypeError, "json cannot be sent; at /a: .*write str"),
    (lambda c: c.http.post("u", data=7), TypeError, "data must be a dict, or a list of pairs"),
    (lambda c: c.http.get("u", headers={"A": None}), TypeError, r"headers\['A'\] must be a str, not NoneType"),
    (lambda c: c.http.get("u", headers="A: b"), TypeError, "headers must be a dict, or a list of pairs"),
    (lambda c: c.http.get("u", params={"a": b""}), TypeError, r"params\['a'\] must be text or a number"),
    (lambda c: c.http.get("u", timeout="1s"), TypeError, "timeout must be seconds or a timedelta"),
    (lambda c: c.http.get("u", timeout=math.inf), ValueError, "timeout must be a time above zero"),
    (lambda c: c.http.get("u", redirects=3), TypeError, "redirects must be a bool"),
    (lambda c: c.secrets.get(None), TypeError, "key must be a str"),  # type: ignore[arg-type]
    (lambda c: c.cache.set("k", 1, ttl=-1), ValueError, "ttl must be a time above zero"),
    (lambda c: c.queue.receive("q", 0), ValueError, "max must be at least 1"),
    (lambda c: c.queue.ack("q", 7), TypeError, "message must be a Message or a receipt"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("use", "kind", "message"), WRONG)
def test_wrong_arguments_are_named(use: Callable[[Clients], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        ask(use)


GROUPED = """
import asyncio
async with asyncio.TaskGroup() as group:
    group.create_task(self.cache.get("a"))
"""


@pytest.mark.parametrize("body", ["await self.cache.get('a')", GROUPED])
@pytest.mark.parametrize(("code", "kind"), [("E2002", "denied"), ("E3001", "raised"), ("E3003", "raised")])
def test_failures_of_the_supervisor_keep_their_code(template: Callable[..., Template], body: str, code: str, kind: str) -> None:
    worker = template(as_execute(body)).serve({})
    worker.send({"id": worker.frame()["id"], "error": {"code": code, "message": "m", "details": {"reason": "backend"}}})
    error = worker.outcome()["error"]
    assert (error["kind"], error["code"], error["details"]) == (kind, code, {"reason": "backend"})


def test_a_failure_of_the_controller_s_own_making_has_no_code(run: Callable[..., dict[str, Any]]) -> None:
    assert run("raise BackendError('mine')")["error"]["code"] is None


def test_clients_are_imported_in_the_template(template: Callable[..., Template]) -> None:
    body = """
        import sys
        before = [name for name in sys.modules if name.startswith("magic._clients.")]
        answer = {}
    """
    used = as_execute(body + "    answer = self.db is None\n        return sorted(before)\n")
    unused = as_execute("import sys\nreturn [name for name in sys.modules if name.startswith('magic._clients')]")
    names = template(used + "    async def use(self): await self.queue.receive('q')\n").serve({}).outcome()["result"]
    assert {"magic._clients.database", "magic._clients.queue"} <= set(names)
    assert "magic._clients.http" not in names
    assert template(unused).serve({}).outcome()["result"] == []
