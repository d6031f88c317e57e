"""What the fake broker offers beyond the scenarios: how a test fills it, and what it reads back."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from magic import BackendError, CapabilityDenied, Controller, MagicError, contract
from magic.testing import FakeBroker, Reply, Request, Table, run
from magic.testing._host import HostProblem, Pattern, Target, parse_host

# As it stands in the product's introduction for authors.
INTRODUCTION = """\
from magic import Controller, contract

@contract("./invoice_sync.contract.yaml")
class InvoiceSyncController(Controller):
    async def execute(self, input: dict) -> dict:
        # Input is already validated against contract schema
        customer_id = input["customer_id"]

        # Structured DB API (requires db:read capability)
        # Use self.db.query_one / self.db.query — NOT raw SQL
        customer = await self.db.query_one(
            "customers",
            where={"id": customer_id}
        )

        # Outbound HTTP only works if declared in capabilities
        stripe_key = await self.secrets.get("STRIPE_KEY")
        response = await self.http.post(
            "https://api.stripe.com/v1/invoices",
            json=input["invoice_data"],
            headers={"Authorization": f"Bearer {stripe_key}"}
        )

        # Return must match output schema
        return {
            "sync_id": response["id"],
            "status": "completed"
        }
"""


def test_the_introduction_s_example_runs_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "controller.py"
    path.write_text(INTRODUCTION)
    capabilities = ["db:read", {"http:egress": {"allow": ["api.stripe.com"]}}, {"secrets:read": {"keys": ["STRIPE_KEY"]}}]
    broker = FakeBroker(
        tables={"customers": [{"id": "c1"}]},
        http={"https://api.stripe.com/v1/invoices": {"id": "in_1"}},
        secrets={"STRIPE_KEY": "sk_1"},
    )
    value = {"customer_id": "c1", "invoice_data": {"amount": 1}}
    output = run(path, value, contract={"name": "InvoiceSync", "capabilities": capabilities}, broker=broker)
    assert output == {"sync_id": "in_1", "status": "completed"}
    assert [request.headers["authorization"] for request in broker.requests] == ["Bearer sk_1"]


@contract("./nowhere.contract.yaml")
class Evaluated(Controller):
    async def execute(self, input: str) -> Any:
        scope = {"self": self, "datetime": datetime, "Decimal": Decimal}
        exec("async def body():\n" + "".join(f"    {line}\n" for line in input.splitlines()), scope)
        return await scope["body"]()  # type: ignore[operator]


ALL = [
    "db:read", "db:write", "db:rawsql", "http:egress", "secrets:read", "queue:publish", "queue:subscribe", "cache:read",
    "cache:write", "fs:temp",
]  # fmt: skip


def evaluate(body: str, broker: FakeBroker, capabilities: list[Any] | None = None) -> Any:
    declared = ALL if capabilities is None else capabilities
    return run(Evaluated, body, contract={"name": "Evaluated", "capabilities": declared}, broker=broker)


def test_kinds_of_columns_are_those_of_the_rows() -> None:
    moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    row = {"id": 1, "n": Decimal("1.10"), "at": moment, "u": UUID(int=7), "x": b"\0", "tags": ["a"], "j": {"a": 1}, "f": 1.5}
    broker = FakeBroker(tables={"t": [row, {"id": 2, "f": 1}]})
    body = """
row = await self.db.query_one("t", {"id": 1})
await self.db.insert("t", {**row, "id": 3})
return [type(value).__name__ for value in row.values()]
"""
    assert evaluate(body, broker) == ["int", "Decimal", "datetime", "UUID", "bytes", "list", "dict", "float"]
    assert broker.tables["t"][2] == {**row, "id": 3}
    with pytest.raises(BackendError, match="`n` holds decimal"):
        evaluate("await self.db.update('t', {'n': 'many'}, {'id': 1})", broker)
    with pytest.raises(BackendError, match="there is no column `m`; there are id, n, at"):
        evaluate("await self.db.insert('t', {'m': 1})", broker)


def test_a_table_without_rows_takes_any_column() -> None:
    broker = FakeBroker(tables={"log": []})
    assert evaluate("return await self.db.count('log', {'level': 'bad'})", broker) == 0
    assert evaluate("return await self.db.insert('log', {'at': datetime.date(2026, 1, 1), 'n': 1})", broker) == 1
    assert broker.tables["log"] == [{"level": None, "at": datetime.date(2026, 1, 1), "n": 1}]
    with pytest.raises(BackendError, match="holds int"):
        evaluate("return await self.db.insert('log', {'n': 'x'})", broker)


def test_a_table_may_be_described() -> None:
    table = Table(columns={"id": "int", "name": "text", "state": "text"}, key="id", generated="id", defaults={"state": "new"})
    broker = FakeBroker(tables={"t": table})
    assert evaluate("return await self.db.insert('t', {'name': 'a'}, returning=['id', 'state'])", broker) == {
        "id": 1,
        "state": "new",
    }
    # The description is not written to, so that it can be shared between tests.
    assert table.rows == []
    with pytest.raises(ValueError, match="kinds are text, int"):
        Table(columns={"id": "integer"})


def test_many_rows_are_read_in_parts() -> None:
    broker = FakeBroker(tables={"t": [{"id": number} for number in range(10_001)]})
    with pytest.raises(CapabilityDenied, match="limit= and offset=") as caught:
        evaluate("await self.db.query('t')", broker)
    assert (caught.value.code, caught.value.details) == ("E2004", {"layer": "budget", "rule": "rows", "budget": "rows"})
    assert evaluate("return len(await self.db.query('t', limit=10_000))", broker) == 10_000


def test_answers_have_the_types_of_what_they_stand_for() -> None:
    answers = {
        "db.query": [{"n": Decimal("1.10"), "d": None}, {"n": None, "d": datetime.date(2026, 1, 1)}],
        "db.query_one": None,
        "db.insert": None,
        "db.update": 3,
        "db.delete": [{"id": 1}],
        "db.raw": [{"a": 1}],
        "http.request": Reply(418, text="teapot"),
        "cache.get": None,
        "queue.receive": [{"n": 1}],
    }
    body = """
rows = await self.db.query("t")
written = [await self.db.insert("t", [{}, {}]), await self.db.update("t", {}, {})]
written.append(await self.db.delete("t", {}, returning=["id"]))
raw = await self.db.raw("select 1")
response = await self.http.get("https://a.example/")
message, = await self.queue.receive("q")
return [[str(value) for row in rows for value in row.values()], await self.db.query_one("t"), written, raw, raw.row_count,
        response.status, await self.cache.get("k", "none"), message.body]
"""
    assert evaluate(body, FakeBroker(answers)) == [
        ["1.10", "None", "None", "2026-01-01"],
        None,
        [2, 3, [{"id": 1}]],
        [{"a": 1}],
        1,
        418,
        "none",
        {"n": 1},
    ]
    with pytest.raises(TypeError, match="a row, a list of rows, or a number"):
        evaluate("await self.db.query('t')", FakeBroker({"db.query": ["a"]}))


def test_what_a_test_answers_is_checked_nevertheless() -> None:
    broker = FakeBroker({"db.query": [], "secrets.get": "x"})
    with pytest.raises(CapabilityDenied, match="does not list the table `other`"):
        evaluate("await self.db.query('other')", broker, [{"db:read": {"tables": ["t"]}}])
    with pytest.raises(CapabilityDenied, match="does not list the secret `B`"):
        evaluate("await self.secrets.get('B')", broker, [{"secrets:read": {"keys": ["A"]}}])
    assert broker.calls == []
    assert broker.decisions == [("db.query", "E2003"), ("secrets.get", "E2003")]


def test_http_answers_may_be_functions_and_errors() -> None:
    async def answer(request: Request) -> Any:
        return Reply(201, json={"seen": request.json()}, headers={"X-Method": request.method})

    http = {"https://a.example/": answer, "GET https://a.example/down": BackendError("down", retriable=True)}
    body = "r = await self.http.put('https://a.example/?q=1', json=[1])\nreturn [r.status, r['seen'], r.headers['x-method']]"
    assert evaluate(body, FakeBroker(http=http)) == [201, [1], "PUT"]
    with pytest.raises(BackendError, match="down"):
        evaluate("await self.http.get('https://a.example/down')", FakeBroker(http=http))
    with pytest.raises(BackendError, match=r"give FakeBroker\(http=\{'POST https://a.example/down': ...\}\)"):
        evaluate("await self.http.post('https://a.example/down?key=secret')", FakeBroker(http=http))
    bytes_back = FakeBroker(http={"https://a.example/": b"\xff\x00"})
    assert evaluate("return list((await self.http.get('https://a.example/')).content)", bytes_back) == [255, 0]


def test_time_passes_when_a_test_says_so() -> None:
    broker = FakeBroker(cache={}, queues={"q": ["m"]})
    assert evaluate("await self.cache.set('k', 1, ttl=60)\nreturn (await self.queue.receive('q'))[0].attempt", broker) == 1
    assert broker.cache == {"k": 1}
    broker.advance(29)
    assert evaluate("return [await self.cache.get('k'), len(await self.queue.receive('q'))]", broker) == [1, 0]
    broker.advance(32)
    assert evaluate("return [await self.cache.get('k'), (await self.queue.receive('q'))[0].attempt]", broker) == [None, 2]
    assert broker.cache == {}
    for _ in range(3):
        broker.advance(31)
        assert evaluate("return len(await self.queue.receive('q'))", broker) == 1
    broker.advance(31)
    assert evaluate("return len(await self.queue.receive('q'))", broker) == 0
    assert broker.queues == {"q": [], "q.dead": ["m"]}


def test_calls_of_one_run_are_counted() -> None:
    body = "for _ in range(10_001):\n    await self.cache.get('k')"
    with pytest.raises(CapabilityDenied) as caught:
        evaluate(body, FakeBroker(cache={}))
    assert (caught.value.code, caught.value.details) == ("E2004", {"layer": "budget", "rule": "calls", "budget": "calls"})


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("db.query", {}),
        ("db.query", {"table": 7}),
        ("db.query", {"table": "t", "whre": {}}),
        ("db.query", {"table": "t", "where": [1]}),
        ("db.query", {"table": "t", "where": {"id": {}}}),
        ("db.query", {"table": "t", "where": {"id": {"near": 1}}}),
        ("db.query", {"table": "t", "where": {"id": {"in": 1}}}),
        ("db.query", {"table": "t", "where": {"id": {"is_null": 1}}}),
        ("db.query", {"table": "t", "where": {"id": {"like": "1"}}}),
        ("db.query", {"table": "t", "where": {"id": {"$decimal": "x"}}}),
        ("db.query", {"table": "t", "where": {"id": {"$number": "1"}}}),
        ("db.query", {"table": "t", "where": {"or": {}}}),
        ("db.insert", {"table": "t", "rows": {}}),
        ("db.update", {"table": "t", "set": {}, "where": {"id": 1}}),
        ("db.update", {"table": "t", "set": [], "where": {"id": 1}}),
        ("cache.set", {"key": "k", "value": 1, "ttl_ms": 0}),
        ("cache.get", {"key": 7}),
        ("queue.receive", {"queue": "q", "max": 0}),
        ("queue.ack", {"queue": "q", "receipt": 7}),
        ("secrets.get", {"key": None}),
        ("http.request", {"method": "GET", "url": 7}),
    ],
)
def test_parameters_that_mean_nothing_are_misuse(method: str, params: dict[str, Any]) -> None:
    broker = FakeBroker(tables={"t": [{"id": 1}]}, cache={}, queues={}, secrets={}, http={})
    body = f"await self._magic_session.line.call({method!r}, {params!r})"
    with pytest.raises(BackendError) as caught:
        evaluate(body, broker)
    assert (caught.value.code, caught.value.details) == ("E3003", {"reason": "backend", "retriable": False})


def test_a_method_that_is_none() -> None:
    with pytest.raises(CapabilityDenied, match="not a method of any capability"):
        evaluate("await self._magic_session.line.call('db.drop', {})", FakeBroker())


@pytest.mark.parametrize(
    ("capability", "message"),
    [
        ("db:raed", "no capability"),
        ({"http:egress": {"allow": []}}, "empty `allow`"),
        ({"http:egress": {"allow": None}}, "empty `allow`"),
        ({"http:egress": {"allow": [""]}}, "cannot be empty"),
        ({"http:egress": {"allow": ["*"]}}, "leftmost label"),
        ({"http:egress": {"allow": ["*.com"]}}, "leftmost label"),
        ({"http:egress": {"allow": ["example.*"]}}, "leftmost label"),
        ({"http:egress": {"methods": ["GET"]}}, "no `allow`"),
        ({"http:egress": {"allow": ["a.example"], "methods": ["get"]}}, "some of GET"),
        ({"db:read": None}, "options other than tables"),
        ({"db:read": {"table": ["t"]}}, "options other than tables"),
        ({"db:rawsql": {"tables": ["t"]}}, "options other than none"),
    ],
)
def test_capabilities_that_no_contract_may_have(capability: Any, message: str) -> None:
    with pytest.raises(MagicError, match=message):
        evaluate("return 1", FakeBroker(), [capability])


def test_a_denial_shows_the_line_to_write() -> None:
    broker = FakeBroker(tables={}, http={})
    declared = [{"db:write": {"tables": ["a"], "max_rows": 5}}, {"http:egress": {"allow": ["*.example.org"]}}]
    lines = {
        "await self.db.insert('b', {})": "- db:write: { tables: [a, b], max_rows: 5 }",
        "await self.http.get('https://a.example:8443/')": '- http:egress: { allow: ["*.example.org", "a.example:8443"] }',
        "await self.cache.get('k')": '- cache:read: { keys: ["rates:*"] }',
    }
    for body, line in lines.items():
        with pytest.raises(CapabilityDenied) as caught:
            evaluate(body, broker, declared)
        assert (caught.value.line, caught.value.layer, caught.value.rule) == (line, "contract", None)
        assert str(caught.value).endswith(line)


@pytest.mark.parametrize(
    "host", ["a.example", "xn--bcher-kva.example", "127.0.0.1", "[::1]", "[::ffff:1.2.3.4]", "a--b.c", "a"]
)
def test_hosts_in_their_one_spelling(host: str) -> None:
    assert parse_host(host) == host
    assert Pattern(f"{host}:8443").covers(host, 8443)
    assert Target(f"https://{host}/x?y#z").url == f"https://{host}/x?y"


@pytest.mark.parametrize(
    "host",
    [
        "", "A.example", "a.example.", ".a", "a..b", "-a", "a-", "ab--c", "xn--a", "xn--abc", "xn--bcher-KVA", "127.1",
        "0x7f.1", "1.2.3.04", "a.1", "[::0]", "[::1", "::1", "[::1%eth0]", "[0:0::1]", "a_b", "a b", "ü", "a/b", "a@b", "a#b",
        "a?b", "a\\b", "a:1:2", "x" * 64, ".".join(["abcdefg"] * 33),
    ],
)  # fmt: skip
def test_hosts_in_any_other_spelling(host: str) -> None:
    with pytest.raises(HostProblem):
        parse_host(host)
    if not any(mark in host for mark in "/#?"):
        with pytest.raises(HostProblem):
            Target(f"https://{host}/x")


def test_wildcards_stand_for_one_label() -> None:
    pattern = Pattern("*.example.org")
    assert [pattern.covers(host, 443) for host in ("a.example.org", "example.org", "a.b.example.org")] == [True, False, False]
    assert not pattern.covers("a.example.org", 8443)
