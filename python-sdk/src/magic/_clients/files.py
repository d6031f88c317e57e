"""``self.fs``."""

from __future__ import annotations

from magic._clients.client import Client, converted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator
    from pathlib import Path
    from typing import Any

__all__ = ["Files"]


class _Directory(Client):
    """``await fs.temp()``, or shorter ``await fs.temp``."""

    __slots__ = ()

    def __call__(self) -> Coroutine[Any, Any, Path]:
        return converted(self._call("fs.temp"), _path_of)

    def __await__(self) -> Generator[Any, Any, Path]:
        return self().__await__()


class Files(Client):
    """Temporary files (fs:temp)."""

    __slots__ = ()

    @property
    def temp(self) -> _Directory:
        """The path of a directory of this request's own, gone after it: ``await self.fs.temp()``.

        A request has one; asking again gives the same.
        """
        return _Directory(self._line)


def _path_of(answer: dict[str, str]) -> Path:
    from pathlib import Path

    return Path(answer["path"])
