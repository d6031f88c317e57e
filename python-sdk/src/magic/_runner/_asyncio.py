"""asyncio, imported only for controllers that use it, and then without ssl.

asyncio brings sockets, threads, child processes and logging: with it a
template is nearly twice as large, and a fork costs twice as much. A controller
whose source does not name it therefore does without (``_driver``). Libraries
may still import it at any time, so the import itself is watched.

asyncio treats ssl as optional. Without sockets it has no use for it, and
leaving it out keeps four megabytes out of every fork. A controller that
imports ssl itself still gets it.
"""

from __future__ import annotations

import sys
from _frozen_importlib_external import PathFinder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType

__all__ = ["import_asyncio", "is_imported", "watch_import", "when_imported"]

_listener: Callable[[], None] | None = None


def is_imported() -> bool:
    """Whether asyncio is there."""
    return "asyncio" in sys.modules


def import_asyncio() -> None:
    """Imports asyncio, unless it is there already."""
    import asyncio  # noqa: F401


def watch_import() -> None:
    """From now on the import of asyncio, by whomever, happens as described above."""
    if not is_imported():
        sys.meta_path.insert(0, _Finder())


def when_imported(listener: Callable[[], None] | None) -> None:
    """Names the function to call after asyncio has been imported, or none."""
    global _listener
    _listener = listener


class _Finder:
    """Finds asyncio as ever, and lends it another loader."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "asyncio":
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
        return spec


class _Loader:
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # What is seen of the loader from now on is the real one.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        hide = "ssl" not in sys.modules
        if hide:
            sys.modules["ssl"] = None  # type: ignore[assignment]
        try:
            self._loader.exec_module(module)
        finally:
            if hide:
                del sys.modules["ssl"]
        if _listener is not None:
            _listener()
