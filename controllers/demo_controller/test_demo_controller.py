"""The demo controller's answers."""

from __future__ import annotations

from pathlib import Path

from magic.testing import FakeBroker, run

CONTROLLER = Path(__file__).with_name("controller.py")


def test_it_answers_the_message() -> None:
    broker = FakeBroker()
    assert run(CONTROLLER, {"message": " hi "}, broker=broker) == {"reply": "You said: hi", "length": 2}
    assert broker.logs == [{"level": "info", "message": "message received", "fields": {"length": 2}}]


def test_it_takes_blanks_lightly() -> None:
    assert run(CONTROLLER, {"message": "  "})["length"] == 0
