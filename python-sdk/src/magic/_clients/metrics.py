"""``self.metrics``."""

from __future__ import annotations

from magic._clients.client import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from magic._session import Line

__all__ = ["Metrics"]


class _Counter(Client):
    __slots__ = ("_name",)

    def __init__(self, line: Line, name: str) -> None:
        super().__init__(line)
        self._name = name

    def inc(self, amount: float = 1) -> Coroutine[Any, Any, None]:
        """Adds to the counter."""
        return self._call("metrics.inc", name=self._name, amount=amount)


class _Histogram(Client):
    __slots__ = ("_name",)

    def __init__(self, line: Line, name: str) -> None:
        super().__init__(line)
        self._name = name

    def observe(self, value: float) -> Coroutine[Any, Any, None]:
        """Adds one observation."""
        return self._call("metrics.observe", name=self._name, value=value)


class Metrics(Client):
    """The metrics that the contract names."""

    __slots__ = ()

    def counter(self, name: str) -> _Counter:
        """A counter by its name."""
        return _Counter(self._line, name)

    def histogram(self, name: str) -> _Histogram:
        """A histogram by its name."""
        return _Histogram(self._line, name)
