"""magic.testing: the same contract, the same JSON, the same errors, without a sandbox."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import HEADER, as_execute
from magic import BackendError, CapabilityDenied, Controller, MagicError, OutputError, contract
from magic.testing import FakeBroker, load, run, run_async

CONTRACT = {
    "name": "Sample",
    "version": "2.0.0",
    "capabilities": ["cache:read", {"db:read": {"tables": ["customers"]}}],
    "observability": {"metrics": ["seen_total"]},
}


@contract("./nowhere.contract.yaml")
class Sample(Controller):
    async def execute(self, input: dict[str, Any]) -> Any:
        return await self.db.query_one("customers", where={"id": input["id"]})


def test_calls_are_answered_and_remembered() -> None:
    broker = FakeBroker({"db.query_one": {"name": "Ada"}})
    assert run(Sample, {"id": 7}, contract=CONTRACT, broker=broker) == {"name": "Ada"}
    assert broker.calls == [("db.query_one", {"table": "customers", "where": {"id": 7}})]


def test_answers_may_be_functions_and_errors() -> None:
    async def later(params: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"from": params["table"]}

    assert run(Sample, {"id": 7}, contract=CONTRACT, broker=FakeBroker({"db.query_one": later})) == {"from": "customers"}
    with pytest.raises(BackendError, match="down"):
        run(Sample, {"id": 7}, contract=CONTRACT, broker=FakeBroker({"db.query_one": BackendError("down")}))
    with pytest.raises(BackendError, match="no answer"):
        run(Sample, {"id": 7}, contract=CONTRACT)


def test_what_the_contract_does_not_declare_is_denied() -> None:
    with pytest.raises(CapabilityDenied) as caught:
        run(Sample, {"id": 7}, contract={**CONTRACT, "capabilities": None}, broker=FakeBroker({"db.query_one": 1}))
    assert caught.value.code == "E2001"
    assert caught.value.details == {
        "capability": "db:read",
        "layer": "contract",
        "line": "- db:read: { tables: [customers] }",
    }
    assert str(caught.value).endswith(": - db:read: { tables: [customers] }")


@contract("./nowhere.contract.yaml")
async def everything(input: dict[str, Any], ctx: Any) -> Any:
    return await eval(input["call"], {"ctx": ctx})


CALLS = {
    "ctx.db.query('t')": "db:read",
    "ctx.db.query_one('t')": "db:read",
    "ctx.db.count('t')": "db:read",
    "ctx.db.insert('t', {})": "db:write",
    "ctx.db.update('t', set={}, where={})": "db:write",
    "ctx.db.delete('t', where={})": "db:write",
    "ctx.db.raw('select 1')": "db:rawsql",
    "ctx.http.get('https://x')": "http:egress",
    "ctx.http.post('https://x', json=1)": "http:egress",
    "ctx.http.put('https://x')": "http:egress",
    "ctx.http.patch('https://x')": "http:egress",
    "ctx.http.delete('https://x')": "http:egress",
    "ctx.http.head('https://x')": "http:egress",
    "ctx.secrets.get('k')": "secrets:read",
    "ctx.cache.get('k')": "cache:read",
    "ctx.cache.set('k', 1, ttl=5)": "cache:write",
    "ctx.cache.delete('k')": "cache:write",
    "ctx.queue.publish('q', {})": "queue:publish",
    "ctx.queue.receive('q', max=2)": "queue:subscribe",
    "ctx.queue.ack('q', 'r')": "queue:subscribe",
    "ctx.fs.temp()": "fs:temp",
}


@pytest.mark.parametrize("call", CALLS)
def test_each_call_needs_its_capability(call: str) -> None:
    with pytest.raises(CapabilityDenied, match=CALLS[call]):
        run(everything, {"call": call}, contract={"name": "Any", "capabilities": []})
    contract = {"name": "Any", "capabilities": [CALLS[call]]}
    # Allowed, and then without an answer; a directory is one, which is not JSON.
    with pytest.raises((BackendError, OutputError), match=r"no answer|PosixPath"):
        run(everything, {"call": call}, contract=contract)


def test_metrics_are_declared_by_name() -> None:
    broker = FakeBroker()
    for call in ("counter('seen_total').inc()", "counter('seen_total').inc(2)", "histogram('seen_total').observe(1)"):
        assert run(everything, {"call": f"ctx.metrics.{call}"}, contract=CONTRACT, broker=broker) is None
    assert (broker.counters, broker.observations) == ({"seen_total": 3}, {"seen_total": [1]})
    assert broker.decisions == []
    broker = FakeBroker({"metrics.inc": None})
    assert run(everything, {"call": "ctx.metrics.counter('seen_total').inc()"}, contract=CONTRACT, broker=broker) is None
    with pytest.raises(CapabilityDenied, match="other"):
        run(everything, {"call": "ctx.metrics.histogram('other').observe(1)"}, contract=CONTRACT, broker=broker)


def test_without_a_contract_calls_say_what_is_missing(monkeypatch: pytest.MonkeyPatch, write: Callable[[str], Path]) -> None:
    monkeypatch.delenv("MAGIC_BINARY", raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(MagicError, match="there is no file"):
        run(Sample, {"id": 1})
    path = write(as_execute("return await self.db.query('t')"))
    (path.parent / "sample.contract.yaml").write_text("name: Sample\n")
    with pytest.raises(MagicError, match="MAGIC_BINARY"):
        run(path, {})


def _program(folder: Path, body: str) -> str:
    program = folder / "magic"
    program.write_text(f"#!{sys.executable} -ISB\nimport sys\nassert sys.argv[1:3] == ['validate', '--json']\n{body}\n")
    program.chmod(0o755)
    return str(program)


def test_yaml_is_parsed_by_the_program(monkeypatch: pytest.MonkeyPatch, write: Callable[[str], Path], tmp_path: Path) -> None:
    answer = '{"valid": true, "checked": [{"contract": {"name": "Sample", "capabilities": ["db:read"]}}]}'
    monkeypatch.setenv("MAGIC_BINARY", _program(tmp_path, f"print({answer!r})"))
    path = write(as_execute("return await self.db.query('t')"))
    (path.parent / "sample.contract.yaml").write_text("name: Sample\n")
    assert run(path, {}, broker=FakeBroker({"db.query": []})) == []
    monkeypatch.setenv("MAGIC_BINARY", _program(tmp_path, "print('line 1: broken', file=sys.stderr); sys.exit(1)"))
    with pytest.raises(MagicError, match="line 1: broken"):
        run(path, {})


def test_json_contracts_are_read_directly(write: Callable[[str], Path]) -> None:
    path = write(as_execute("return self.context.version").replace("contract.yaml", "contract.json"))
    (path.parent / "sample.contract.json").write_text('{"name": "Sample", "version": "3.1.4"}')
    assert run(path.parent, {}) == "3.1.4"
    (path.parent / "sample.contract.json").write_text('{"name": "Other", "version": "3.1.4"}')
    with pytest.raises(MagicError, match="name the class Other"):
        run(path, {})


def test_input_and_output_pass_through_json() -> None:
    async def echo(input: Any) -> Any:
        return {"sum": (1, 2), "same": input is value}

    value = {"a": 1}
    assert run(echo, value) == {"sum": [1, 2], "same": False}

    async def wrong(input: Any) -> Any:
        return {"a": {1}}

    with pytest.raises(OutputError) as caught:
        run(wrong, {})
    assert caught.value.path == "/a"
    with pytest.raises(MagicError, match="input is not JSON at /a"):
        run(echo, {"a": {1}})


def test_exceptions_come_out_unchanged() -> None:
    def fails(input: Any) -> Any:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        run(fails, {})


async def _nested() -> Any:
    async def echo(input: Any) -> Any:
        return input

    return await run_async(echo, [1])


def test_there_is_a_form_for_running_loops() -> None:
    assert asyncio.run(_nested()) == [1]


def test_each_controller_has_its_own_helpers(tmp_path: Path) -> None:
    targets = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "helper.py").write_text(f"NAME = {name!r}\n")
        (folder / "controller.py").write_text(
            HEADER + "import helper\n@contract('c.yaml')\ndef handle(input): return helper.NAME\n"
        )
        targets.append(load(folder))
    assert [run(target, {}) for target in targets] == ["one", "two"]
    assert "helper" not in sys.modules
    assert str(tmp_path / "one") not in sys.path


def test_a_module_without_an_entry_point_says_what_to_write(write: Callable[[str], Path]) -> None:
    with pytest.raises(MagicError, match="marked with @contract; write"):
        load(write("x = 1\n"))
