"""What {{Name}} promises. Run with: python -m pytest"""

from pathlib import Path

from magic.testing import run

CONTROLLER = Path(__file__).with_name("controller.py")


def test_it_greets_by_name() -> None:
    assert run(CONTROLLER, {"name": "Ada"}) == {"greeting": "Hello, Ada!"}
