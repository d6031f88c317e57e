"""The decorator that marks a module's entry point.

It only records the path. The contract's text is read by the supervisor before
the sandbox exists; reading it here again would let a controller believe in a
contract that is not the one enforced.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    Entry = TypeVar("Entry", bound=Callable[..., object])

__all__ = ["MARK", "contract"]

#: The attribute by which the runner recognizes a decorated class or function.
MARK = "__magic_contract__"


def contract(path: str) -> Callable[[Entry], Entry]:
    """Names the contract file, relative to the controller's folder, of a class or function."""
    # Without parentheses Python hands over the class itself; saying what to
    # type here beats the TypeError that would come from a line further on.
    if not isinstance(path, str):
        named = getattr(path, "__name__", "...")
        raise TypeError(f'@contract needs the path of the contract file: write @contract("./contract.yaml") above {named}')

    def mark(entry: Entry) -> Entry:
        setattr(entry, MARK, path)
        return entry

    return mark
