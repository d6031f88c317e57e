"""The README's examples run."""

from __future__ import annotations

import datetime
import re
import textwrap
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from conftest import SDK_ROOT
from magic.testing import FakeBroker, Table, run

EXAMPLES = re.findall(r"```python\n(.*?)```", (SDK_ROOT / "README.md").read_text(), re.DOTALL)

CONTRACT = {
    "name": "Sample",
    "capabilities": [
        "db:read", "db:write", "secrets:read", "cache:read", "cache:write", "queue:publish", "queue:subscribe", "fs:temp",
        {"http:egress": {"allow": ["api.example.org"]}},
    ],
}  # fmt: skip

INVOICES = {"id": "int", "total": "decimal", "state": "text", "paid_at": "datetime"}


def broker() -> FakeBroker:
    invoices: list[dict[str, Any]] = [
        {"id": 1, "total": Decimal(120), "state": "new"},
        {"id": 2, "total": Decimal(120), "state": "void"},
        {"id": 3, "total": Decimal(130), "state": "sent", "paid_at": datetime.datetime.now(datetime.UTC)},
    ]
    return FakeBroker(
        tables={
            "customers": [{"id": 7, "name": "Ada"}],
            "invoices": Table(invoices, columns=INVOICES, key="id", generated="id"),
        },
        http={"https://api.example.org/v1/things": {"id": "t1"}},
        secrets={"API_KEY": "k"},
        cache={},
        queues={"orders": [{"n": 1}, {"n": 0}]},
    )


def test_there_is_one_for_every_capability() -> None:
    text = "".join(EXAMPLES)
    for name in ("db", "http", "secrets", "cache", "queue", "fs"):
        assert f"self.{name}." in text


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_example_runs(example: str, tmp_path: Path) -> None:
    header = "from datetime import timedelta\nfrom decimal import Decimal\nfrom magic import *\n@contract('c.json')\n"
    body = f"class Sample(Controller):\n    async def execute(self, input):\n{textwrap.indent(example, ' ' * 8)}"
    (tmp_path / "controller.py").write_text(header + body)
    assert run(tmp_path, {}, contract=CONTRACT, broker=broker()) is None


def test_what_the_first_example_does(tmp_path: Path) -> None:
    header = "from decimal import Decimal\nfrom magic import *\n@contract('c.json')\nclass Sample(Controller):\n"
    returns = "        return [customer, [row['id'] for row in open_ones], late, invoice, count, changed, removed]\n"
    body = f"    async def execute(self, input):\n{textwrap.indent(EXAMPLES[0], ' ' * 8)}{returns}"
    (tmp_path / "controller.py").write_text(header + body)
    used = broker()
    assert run(tmp_path, {}, contract=CONTRACT, broker=used) == [{"id": 7, "name": "Ada"}, [1], 2, {"id": 4}, 2, 1, [{"id": 2}]]
    assert [row["state"] for row in used.tables["invoices"]] == ["new", "sent", "sent", None, None]
