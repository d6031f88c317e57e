"""Reads e-mail messages, puts them into a database in memory, and reports by SQL.

It imports a large part of the standard library on purpose: a template pays for
imports once, and each request finds them done.
"""

from __future__ import annotations

import sqlite3
import statistics
from decimal import Decimal
from email import policy
from email.message import EmailMessage
from email.parser import Parser
from email.utils import parseaddr, parsedate_to_datetime
from typing import Any
from xml.etree import ElementTree

from magic import Controller, contract

SCHEMA = "CREATE TABLE message (sender TEXT NOT NULL, day TEXT, words INTEGER NOT NULL)"
BY_SENDER = """
    SELECT sender, count(*), sum(words), min(day), max(day)
    FROM message GROUP BY sender ORDER BY count(*) DESC, sender LIMIT 100
"""


@contract("./text_report.contract.yaml")
class TextReport(Controller):
    """Counts, medians and a small XML summary of a bundle of messages."""

    def execute(self, input: dict[str, Any]) -> dict[str, Any]:
        parser = Parser(policy=policy.default)
        database = sqlite3.connect(":memory:")
        database.execute(SCHEMA)
        counts = []
        for text in input["messages"]:
            sender, day, words = _facts(parser.parsestr(text))
            counts.append(words)
            database.execute("INSERT INTO message VALUES (?, ?, ?)", (sender, day, words))
        senders = [
            {"sender": sender, "messages": messages, "words": words, "first_day": first, "last_day": last}
            for sender, messages, words, first, last in database.execute(BY_SENDER)
        ]
        mean = Decimal(sum(counts)) / len(counts)
        return {
            "messages": len(counts),
            "mean_words": f"{mean.quantize(Decimal('0.1')):f}",
            "median_words": statistics.median_high(counts),
            "senders": senders,
            "summary_xml": _as_xml(senders),
        }


def _facts(message: EmailMessage) -> tuple[str, str | None, int]:
    sender = parseaddr(str(message.get("From", "")))[1].lower() or "unknown"
    try:
        day = parsedate_to_datetime(str(message["Date"])).date().isoformat()
    except (TypeError, ValueError):
        day = None
    body = message.get_body(preferencelist=("plain",))
    try:
        text = body.get_content() if body is not None else ""
    except (LookupError, KeyError, UnicodeError):
        # A charset or kind of content that Python does not know.
        text = ""
    return sender, day, len(text.split())


def _as_xml(senders: list[dict[str, Any]]) -> str:
    report = ElementTree.Element("report")
    for sender in senders:
        # XML has no place for control characters, not even escaped.
        name = "".join(letter for letter in sender["sender"] if letter.isprintable())
        ElementTree.SubElement(report, "sender", address=name, messages=str(sender["messages"]))
    return ElementTree.tostring(report, encoding="unicode")
