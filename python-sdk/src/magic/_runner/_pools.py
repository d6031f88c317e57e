"""Makes objects that are used together lie together, so that a worker copies fewer pages.

CPython takes small objects from pools of one size each, and a new object goes
to whichever place became free last: the interpreter's start leaves such places
all over the heap. Counting a reference to one of them copies its page in every
worker. So the free places are filled once with objects that nobody will ever
touch; what is made afterwards (the runner, or the objects of a request) comes
from pools of its own, one page after the other.

Only an arrangement: if an interpreter lays its heap out differently, nothing
is filled and everything works as it does without.
"""

from __future__ import annotations

__all__ = ["fill"]

# Of obmalloc.c since Python 3.10: pools are aligned to their size and begin with a header.
_POOL_BYTES = 16 * 1024
_HEADER_BYTES = 48
_LARGEST = 512
_STEP = 16
# The fewest bytes of a bytes object, which is what the places are filled with.
_BYTES_HEADER = bytes.__basicsize__
#: Places in a row by which a new pool is recognized.
_ROW = 4
#: Places of one size that are filled at most.
_MOST = 4096

_kept: list[list[bytes]] = []


def fill() -> None:
    """Fills what is free in pools that are in use; what is made next comes from new ones."""
    # Largest first: there a heap of another kind is recognized after the fewest objects.
    for size in range(_LARGEST, _BYTES_HEADER, -_STEP):
        filling = []
        row = 0
        for _ in range(_MOST):
            filling.append(bytes(size - _BYTES_HEADER))
            # A new pool gives its places in order; in one that is in use the first may be free as well.
            row = row + 1 if id(filling[-1]) % _POOL_BYTES == _HEADER_BYTES + row * size else 0
            if row == _ROW:
                break
        else:
            return
        _kept.append(filling)
