"""Sums that floats get wrong, and roundings that matter."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from magic import ControllerError
from magic.testing import run

CONTROLLER = Path(__file__).with_name("controller.py")


def invoice(*lines: tuple[str, str, str, str], currency: str = "EUR") -> dict[str, Any]:
    names = ("quantity", "unit_price", "discount_percent", "tax_percent")
    return {
        "currency": currency,
        "lines": [{"description": "thing", **dict(zip(names, line, strict=True))} for line in lines],
    }


@pytest.mark.parametrize(
    ("lines", "currency", "net", "tax", "total"),
    [
        ([("3", "0.10", "0", "0")], "EUR", "0.30", "0.00", "0.30"),
        ([("1", "0.05", "0", "10")], "EUR", "0.05", "0.01", "0.06"),
        ([("1", "999", "0", "10")], "JPY", "999", "100", "1099"),
        ([("1", "1.2345", "0", "0")], "KWD", "1.235", "0.000", "1.235"),
        ([("1", "10", "100", "19")], "EUR", "0.00", "0.00", "0.00"),
        ([("2", "10", "0", "19"), ("1", "-5", "0", "19")], "EUR", "15.00", "2.85", "17.85"),
        ([("999999999", "999999.999999", "0", "0")], "EUR", "999999998999000.00", "0.00", "999999998999000.00"),
    ],
)
def test_totals(lines: list[tuple[str, str, str, str]], currency: str, net: str, tax: str, total: str) -> None:
    answer = run(CONTROLLER, invoice(*lines, currency=currency))
    assert (answer["net_total"], answer["tax_total"], answer["total"]) == (net, tax, total)


def test_tax_is_rounded_once_for_each_rate() -> None:
    # Three lines of 0.03 at 19 percent: 0.01 each would make 0.03, the truth is 0.02.
    answer = run(CONTROLLER, invoice(*[("1", "0.03", "0", "19")] * 3, ("1", "1", "0", "7.0")))
    assert answer["taxes"] == [
        {"percent": "7", "net": "1.00", "tax": "0.07"},
        {"percent": "19", "net": "0.09", "tax": "0.02"},
    ]


def test_lines_and_taxes_add_up() -> None:
    answer = run(CONTROLLER, invoice(*[(str(n), f"0.{n:02}", str(n), str(n % 3)) for n in range(1, 60)]))
    assert sum(Decimal(line["net"]) for line in answer["lines"]) == Decimal(answer["net_total"])
    assert sum(Decimal(tax["tax"]) for tax in answer["taxes"]) == Decimal(answer["tax_total"])


def test_an_amount_out_of_range_has_a_code() -> None:
    with pytest.raises(ControllerError) as caught:
        run(CONTROLLER, invoice(("999999999", "999999999999", "0", "0")))
    assert (caught.value.code, caught.value.details) == ("AMOUNT_TOO_LARGE", {"line": 1})
