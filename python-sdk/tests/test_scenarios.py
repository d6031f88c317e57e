"""Plays the files of ``scenarios`` against the fake broker; the format is told in its README."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from magic import ControllerError, MagicError, OutputError
from magic._runner._failure import answer_of_group
from magic.testing import FakeBroker, Reply, Request, Table, run
from magic.testing._types import Json, from_wire

FOLDER = Path(__file__).with_name("scenarios")
ORIGINS = {"api": "api.example.org", "other": "other.example.org", "plain": "localhost:9080"}

HEADER = """\
import asyncio, base64, datetime, decimal, json, math, uuid
from magic import *

@contract("./scenario.contract.json")
class Scenario(Controller):
    async def execute(self, input):
        return {"value": await self.body(input)}

    async def body(self, input):
"""


def _scenarios() -> list[Any]:
    found = []
    for path in sorted(FOLDER.glob("*.json")):
        text = path.read_text()
        for name, origin in ORIGINS.items():
            text = text.replace(f"{{{{{name}}}}}", origin)
        document = json.loads(text)
        for scenario in document["scenarios"]:
            whole = {**document["defaults"], **scenario}
            if "fake" in whole.get("players", ["fake"]):
                found.append(pytest.param(whole, id=f"{path.stem}-{scenario['name']}"))
    return found


SCENARIOS = _scenarios()
KNOWN = {
    "name", "capabilities", "effects", "metrics",
    "tables", "secrets", "cache", "queues", "http", "runs", "after", "databases", "players",
}  # fmt: skip
RUN = {"python", "input", "result", "error", "calls", "requests"}


def _value(value: object) -> Any:
    decoded = from_wire(value)
    return decoded.value if isinstance(decoded, Json) else decoded


def _table(given: dict[str, Any]) -> Table:
    rows = [{name: _value(value) for name, value in row.items()} for row in given.get("rows", [])]
    return Table(
        rows,
        columns=given["columns"],
        key=given.get("key", []),
        generated=given.get("generated"),
        required=given.get("required", []),
        defaults={name: _value(value) for name, value in given.get("defaults", {}).items()},
    )


def _reply(given: dict[str, Any]) -> Reply:
    return Reply(given.get("status", 200), given.get("json"), given.get("text"), headers=given.get("headers", {}))


def _told(error: Exception) -> dict[str, Any]:
    """The error as a caller of the runtime would see it."""
    error = answer_of_group(error) or error
    if isinstance(error, OutputError):
        return {"code": "E3004", "details": {"constraint": "json"}}
    if isinstance(error, MagicError) and not isinstance(error, ControllerError) and error.code is not None:
        return {"code": error.code, "details": error.details or {}}
    details: dict[str, Any] = {"reason": "raised", "exception": type(error).__name__}
    if isinstance(error, ControllerError):
        details["controller_code"] = error.code
    return {"code": "E3003", "details": details}


def _sorted(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    # 1.5 and 1.50 are one number, which not every database writes in one way.
    plain = [{name: value.normalize() if isinstance(value, Decimal) else value for name, value in row.items()} for row in rows]
    return sorted(plain, key=lambda row: str(sorted(row.items())))


def _play(step: dict[str, Any], contract: dict[str, Any], broker: FakeBroker, folder: Path) -> None:
    source = HEADER + "".join(f"        {line}\n" for line in step["python"])
    (folder / "controller.py").write_text(source)
    broker.decisions.clear()
    broker.requests.clear()
    try:
        outcome = {"result": run(folder, step.get("input", {}), contract=contract, broker=broker)["value"]}
    except Exception as error:
        outcome = {"error": _told(error), "message": str(error)}
    if "result" in step:
        assert outcome == {"result": step["result"]}
    else:
        assert "error" in outcome, outcome
        told, expected = outcome["error"], step["error"]
        wanted = expected.get("details", {})
        found = {name: told["details"].get(name) for name in wanted}
        assert (told["code"], found) == (expected["code"], wanted), outcome
    if "calls" in step:
        calls = [method if code is None else f"{method} {code}" for method, code in broker.decisions]
        assert calls == step["calls"]
    if "requests" in step:
        assert len(broker.requests) == len(step["requests"]), broker.requests
        for sent, expected in zip(broker.requests, step["requests"], strict=True):
            _compare(sent, expected)


def _compare(sent: Request, expected: dict[str, Any]) -> None:
    assert (sent.method, sent.url) == (expected["method"], expected["url"])
    wanted = expected.get("headers", {})
    assert {name: sent.headers.get(name) for name in wanted} == wanted
    if "json" in expected:
        assert sent.json() == expected["json"]
    if "text" in expected:
        assert sent.content.decode() == expected["text"]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario: dict[str, Any], tmp_path: Path) -> None:
    assert scenario.keys() <= KNOWN | RUN, scenario.keys() - KNOWN - RUN
    contract = {"name": "Scenario", "version": "1.0.0", "capabilities": scenario.get("capabilities", [])}
    if "metrics" in scenario:
        contract["observability"] = {"metrics": scenario["metrics"]}
    if "effects" in scenario:
        contract["effects"] = scenario["effects"]
    broker = FakeBroker(
        tables={name: _table(table) for name, table in scenario.get("tables", {}).items()},
        http={place: _reply(answer) for place, answer in scenario.get("http", {}).items()},
        secrets=scenario.get("secrets", {}),
        cache=scenario.get("cache", {}),
        queues=scenario.get("queues", {}),
    )
    for step in scenario.get("runs", [scenario]):
        assert ("result" in step) != ("error" in step), "a run has a result or an error"
        _play(step, contract, broker, tmp_path)
    after = scenario.get("after", {})
    for name, rows in after.get("tables", {}).items():
        columns = scenario["tables"][name]["columns"]
        wanted = [{column: _value(row.get(column)) for column in columns} for row in rows]
        assert _sorted(broker.tables[name]) == _sorted(wanted)
    for key, entry in after.get("cache", {}).items():
        assert (entry is not None) == (key in broker.cache), broker.cache
        assert entry is None or broker.cache[key] == entry["value"]
    for name, bodies in after.get("queues", {}).items():
        assert broker.queues.get(name, []) == bodies


def test_names_are_unique() -> None:
    names = [parameters.id for parameters in SCENARIOS]
    assert len(names) == len(set(names)) >= 80
