"""What threading and logging do after a fork, put off until there can be a need.

Both register functions that repair locks and lists after a fork of a process
with several threads. A template has one thread (the supervisor looks), so
there is nothing to repair, and running them in every worker would copy a
hundred pages. A worker may start threads and fork, so it registers them before
the author's code runs. All other hooks, those of random for example, run.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Hook = Callable[[], object]

__all__ = ["ForkHooks"]

_PUT_OFF = ("threading", "logging")


class ForkHooks:
    """The functions that were not registered yet."""

    def __init__(self) -> None:
        self.kept: list[dict[str, Hook]] = []

    def keep(self) -> None:
        """From now on the functions of those modules are kept, and all others registered."""
        really = os.register_at_fork

        def register_at_fork(**hooks: Hook) -> None:
            after = hooks.get("after_in_child")
            if after is not None and getattr(after, "__module__", None) in _PUT_OFF:
                self.kept.append(hooks)
            else:
                really(**hooks)

        os.register_at_fork = register_at_fork  # type: ignore[assignment]
        self._really = really

    def stop(self) -> None:
        """From now on everything is registered as ever."""
        os.register_at_fork = self._really

    def register(self) -> None:
        """Registers what was kept, in a process that has just been forked."""
        for hooks in self.kept:
            self._really(**hooks)
        threading = sys.modules.get("threading")
        if threading is not None and self.kept:
            # The one thing that does differ after this fork.
            threading.main_thread()._set_native_id()
