"""Objects that are made together lie together once the free places of the heap are filled."""

from __future__ import annotations

import subprocess
from pathlib import Path

SDK = Path(__file__).resolve().parent.parent / "src"

# A place in sixteen is free, as after an interpreter's start, and then come the objects whose pages are counted.
CODE = """
import sys
sys.path[:0] = [{sdk!r}]
from magic._runner._pools import fill
old = [bytes(20) for _ in range(4000)]
del old[::16]
if {filled}:
    fill()
new = [bytes(20) for _ in range(100)]
print(len({{id(value) >> 12 for value in new}}))
"""


def _pages(python: str, *, filled: bool) -> int:
    code = CODE.format(sdk=str(SDK), filled=filled)
    return int(subprocess.run([python, "-I", "-S", "-c", code], check=True, capture_output=True, text=True).stdout)


def test_what_is_made_after_filling_takes_few_pages(python: str) -> None:
    # A hundred objects of 64 bytes fill two pages, and may begin in the midst of one.
    assert _pages(python, filled=True) <= 4
    assert _pages(python, filled=False) >= 10
