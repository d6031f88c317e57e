"""Clean rows, mended rows, and rows that are sent back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from magic import ControllerError
from magic.testing import run

CONTROLLER = Path(__file__).with_name("controller.py")


def normalize(**fields: Any) -> dict[str, Any]:
    row = {"name": "Bo", "email": "bo@example.org", **fields}
    answer: dict[str, Any] = run(CONTROLLER, {"format": "json", "text": json.dumps([row])})
    return answer


@pytest.mark.parametrize(
    ("field", "raw", "clean"),
    [
        ("name", "  Jose\u0301   Paz ", "José Paz"),
        ("email", "Bo.B@EXAMPLE.Org", "Bo.B@example.org"),
        ("country", "de", "DE"),
        ("country", "Frankreich", "FR"),
        ("joined", "29.02.2024", "2024-02-29"),
        ("joined", "20240131", "2024-01-31"),
        ("balance", "1.234.567,5", "1234567.50"),
        ("balance", "1,234.56", "1234.56"),
        ("balance", "12 345,67", "12345.67"),
        ("balance", "-0.5", "-0.50"),
        ("balance", 7, "7.00"),
        ("balance", "", None),
    ],
)
def test_fields_are_cleaned(field: str, raw: Any, clean: str | None) -> None:
    answer = normalize(**{field: raw})
    assert answer["errors"] == []
    assert answer["rows"][0][field] == clean


@pytest.mark.parametrize(
    ("field", "raw"),
    [
        ("name", "x" * 201),
        ("name", "a\x00b"),
        ("email", "nobody"),
        ("email", "a@b"),
        ("email", ["a@b.org"]),
        ("country", "Atlantis"),
        ("joined", "30.02.2024"),
        ("balance", "much"),
        ("balance", "NaN"),
        ("balance", "1e30"),
    ],
)
def test_bad_fields_are_sent_back(field: str, raw: Any) -> None:
    answer = normalize(**{field: raw})
    assert (answer["rows"], answer["kept"]) == ([], 0)
    assert [(error["row"], error["field"]) for error in answer["errors"]] == [(1, field)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_of_any_common_kind_is_read(delimiter: str) -> None:
    lines = [("\ufeffName", " EMAIL "), ('"B, o; x"', "bo@example.org"), ("Bo", "bo@example.org")]
    text = "\r\n".join(delimiter.join(line) for line in lines)
    answer = run(CONTROLLER, {"format": "csv", "text": text})
    assert answer["rows"][0]["name"] == "B, o; x"
    assert answer["errors"] == [{"row": 2, "field": "email", "problem": "the same address as in row 1"}]


@pytest.mark.parametrize(
    ("form", "text", "code"),
    [
        ("json", "{", "TEXT_UNREADABLE"),
        ("json", "{}", "TEXT_UNREADABLE"),
        ("json", "[" * 100_000, "TEXT_UNREADABLE"),
        ("csv", 'name,email\n"open', "TEXT_UNREADABLE"),
        ("csv", "a,b\n1,2\n", "COLUMNS_MISSING"),
    ],
)
def test_unreadable_text_has_a_code(form: str, text: str, code: str) -> None:
    with pytest.raises(ControllerError) as caught:
        run(CONTROLLER, {"format": form, "text": text})
    assert caught.value.code == code


def test_rows_that_are_no_objects_are_sent_back() -> None:
    answer = run(CONTROLLER, {"format": "json", "text": "[1, null]"})
    assert (answer["read"], answer["kept"], len(answer["errors"])) == (2, 0, 4)
