"""Reports of ordinary and of odd messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from magic.testing import run

CONTROLLER = Path(__file__).with_name("controller.py")


def message(sender: str, date: str, body: str) -> str:
    return f"From: {sender}\nDate: {date}\nSubject: s\n\n{body}\n"


def test_messages_are_grouped_by_sender() -> None:
    answer = run(
        CONTROLLER,
        {
            "messages": [
                message("Ada <ADA@example.org>", "Mon, 05 Feb 2024 10:00:00 +0000", "one two"),
                message("ada@example.org", "Tue, 06 Feb 2024 10:00:00 +0000", "one two three"),
                message("bo@example.org", "whenever", "x"),
            ]
        },
    )
    assert (answer["messages"], answer["mean_words"], answer["median_words"]) == (3, "2.0", 2)
    assert answer["senders"][0] == {
        "sender": "ada@example.org",
        "messages": 2,
        "words": 5,
        "first_day": "2024-02-05",
        "last_day": "2024-02-06",
    }
    assert answer["senders"][1]["first_day"] is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no headers at all",
        "From: \x01<\x02>\n\nbody",
        "Content-Type: text/plain; charset=nonsense\n\nbody",
        "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nopen end",
        "Content-Type: message/rfc822\n\nFrom: a@b.c\n\nx",
        "Date: Mon, 99 Foo 2024 10:00:00 +0000\n\nx",
    ],
)
def test_odd_messages_are_counted(text: str) -> None:
    assert run(CONTROLLER, {"messages": [text]})["messages"] == 1
