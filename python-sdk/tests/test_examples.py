"""The example controllers keep what their contracts say: every example, and both schemas."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from conftest import SDK_ROOT
from driver import Template
from magic.testing import FakeBroker, run

CONTRACTS = sorted((SDK_ROOT.parent / "controllers").glob("*/*.contract.yaml"))
# What the examples of a controller with capabilities find behind them.
BACK_ENDS: dict[str, dict[str, Any]] = {
    "invoice_sync": {
        "tables": {"customers": [{"id": "3f2b8c1e-5d4a-4e6f-9a7b-0c1d2e3f4a5b", "name": "Ada", "stripe_id": "cus_1001"}]},
        "http": {"POST https://api.stripe.com/v1/invoices": {"id": "in_1001"}},
        "secrets": {"STRIPE_KEY": "sk_test_1"},
    }
}


def test_there_are_examples() -> None:
    assert len(CONTRACTS) >= 4


def _check(schema: dict[str, Any], value: Any) -> None:
    jsonschema.Draft7Validator(schema, format_checker=jsonschema.FormatChecker()).validate(value)


@pytest.mark.parametrize("path", CONTRACTS, ids=lambda path: path.parent.name)
def test_examples_hold(path: Path) -> None:
    contract = yaml.safe_load(path.read_text())
    assert path.name == f"{path.parent.name}.contract.yaml"
    assert contract["examples"]
    for example in contract["examples"]:
        _check(contract["input"], example["input"])
        _check(contract["output"], example["output"])
        broker = FakeBroker(**BACK_ENDS.get(path.parent.name, {}))
        assert run(path.parent, example["input"], contract=contract, broker=broker) == example["output"]


@pytest.mark.parametrize("path", CONTRACTS, ids=lambda path: path.parent.name)
def test_examples_hold_in_a_worker(path: Path, python: str) -> None:
    contract = yaml.safe_load(path.read_text())
    with Template(python) as template:
        loaded = template.start(path.parent / "controller.py", controller=contract["name"])
        assert loaded["type"] == "loaded", loaded
        # The driver answers no calls.
        for example in [] if contract.get("capabilities") else contract["examples"]:
            assert template.serve(example["input"]).outcome() == {"id": 0, "result": example["output"]}


@pytest.mark.parametrize("path", CONTRACTS, ids=lambda path: path.parent.name)
def test_examples_are_typed(path: Path, tmp_path: Path) -> None:
    # One run for each: every folder has a module called controller.
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), "--explicit-package-bases"]
    sources = [str(file) for file in sorted(path.parent.glob("*.py"))]
    environment = {"MYPYPATH": f"{path.parent}:{SDK_ROOT / 'src'}", "PATH": "/usr/bin:/bin"}
    answer = subprocess.run([*command, *sources], capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
