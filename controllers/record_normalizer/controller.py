"""Turns rows of CSV or JSON text into rows of one clean shape.

A bad row never spoils the others: it is answered with its number, the field
and what was expected, so that whoever sent the file can mend exactly that row.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from fields import FieldError, normalize_amount, normalize_country, normalize_date, normalize_email, normalize_name

from magic import Controller, ControllerError, contract

FIELDS = {
    "name": normalize_name,
    "email": normalize_email,
    "country": normalize_country,
    "joined": normalize_date,
    "balance": normalize_amount,
}
REQUIRED = ("name", "email")


@contract("./record_normalizer.contract.yaml")
class RecordNormalizer(Controller):
    """Reads the text, cleans every row, and reports what it could not clean."""

    async def execute(self, input: dict[str, Any]) -> dict[str, Any]:
        read = _read_csv if input["format"] == "csv" else _read_json
        rows: list[dict[str, str | None]] = []
        errors: list[dict[str, Any]] = []
        seen: dict[str, int] = {}
        number = 0
        for number, raw in enumerate(read(input["text"]), start=1):
            row, problems = _normalize(raw)
            email = row["email"]
            if email is not None and not problems:
                first = seen.setdefault(email, number)
                if first != number:
                    problems.append(("email", f"the same address as in row {first}"))
            if problems:
                errors.extend({"row": number, "field": field, "problem": problem} for field, problem in problems)
            else:
                rows.append(row)
        self.log.info("records normalized", read=number, kept=len(rows), problems=len(errors))
        return {"rows": rows, "errors": errors, "read": number, "kept": len(rows)}


def _normalize(raw: dict[str, Any]) -> tuple[dict[str, str | None], list[tuple[str, str]]]:
    row: dict[str, str | None] = dict.fromkeys(FIELDS)
    problems = []
    for field, normalize in FIELDS.items():
        value = raw.get(field)
        text = "" if value is None else str(value).strip()
        if not text:
            if field in REQUIRED:
                problems.append((field, "missing"))
            continue
        try:
            row[field] = normalize(text)
        except FieldError as error:
            problems.append((field, str(error)))
    return row, problems


def _read_csv(text: str) -> Iterator[dict[str, Any]]:
    text = text.removeprefix("\ufeff")
    try:
        delimiter = csv.Sniffer().sniff(text[:4096], delimiters=",;\t").delimiter
    except csv.Error:
        delimiter = ","
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or []]
        missing = [name for name in REQUIRED if name not in reader.fieldnames]
        if missing:
            raise ControllerError(
                f"the first line names no column {', '.join(missing)}", code="COLUMNS_MISSING", details={"missing": missing}
            )
        yield from reader
    except csv.Error as error:
        raise ControllerError(f"line {reader.line_num} is not CSV: {error}", code="TEXT_UNREADABLE") from None


def _read_json(text: str) -> Iterator[dict[str, Any]]:
    try:
        # Numbers stay text: 10.10 must not become 10.1.
        rows = json.loads(text, parse_float=str, parse_int=str)
    except (ValueError, RecursionError) as error:
        raise ControllerError(f"the text is not JSON: {error}", code="TEXT_UNREADABLE") from None
    if not isinstance(rows, list):
        raise ControllerError("the JSON text is not an array of objects", code="TEXT_UNREADABLE")
    for row in rows:
        yield {str(key).strip().lower(): value for key, value in row.items()} if isinstance(row, dict) else {}
