"""Runs a coroutine without an event loop, for controllers that do not use asyncio.

Without tasks and timers there is one thing to wait for at a time: the answer
to the call that is awaited. The channel waits for it where it is asked, so the
coroutine runs from its beginning to its end without a pause, and a worker has
no loop whose pages it would have to copy.

If asyncio is imported while the coroutine runs (by a library, say), a loop is
made on the spot and the coroutine goes on as a task of it. Known limit: it is
not noticed if another thread imports it.
"""

from __future__ import annotations

import sys
from _thread import get_ident
from types import coroutine as generator_coroutine

from magic._runner._asyncio import is_imported, when_imported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
    from typing import Any

    from magic._loop import ChannelLoop

__all__ = ["close_generators", "drive"]


def drive(coroutine: Coroutine[Any, Any, Any], make_loop: Callable[[], ChannelLoop]) -> Any:
    """The coroutine's value; ``make_loop`` is asked for a loop that serves the channel if one is needed."""
    driver = _driver
    driver.coroutine = coroutine
    driver.make_loop = make_loop
    driver.task = None
    when_imported(driver.enter_loop)
    try:
        while True:
            waiting = coroutine.send(None)
            if driver.task is not None:
                return driver.go_on(waiting)
            # A bare yield lets others run, and there are none.
            if waiting is not None:
                coroutine.throw(RuntimeError(f"Task got bad yield: {waiting!r}"))
    except StopIteration as end:
        return end.value
    finally:
        when_imported(None)


class _Driver:
    coroutine: Coroutine[Any, Any, Any]
    make_loop: Callable[[], ChannelLoop]

    def __init__(self) -> None:
        self._thread = get_ident()
        self._waiting: Any = None
        self._loop: ChannelLoop | None = None
        self.task: Task[Any] | None = None

    def enter_loop(self) -> None:
        """Lets the coroutine, in the midst of which this is called, find itself in a task of a running loop."""
        if get_ident() != self._thread or self.task is not None:
            return
        from asyncio import _set_running_loop
        from asyncio.tasks import _enter_task

        self._loop = self.make_loop()
        self.task = self._loop.create_task(self._rest())
        _set_running_loop(self._loop)
        _enter_task(self._loop, self.task)

    def go_on(self, waiting: Any) -> Any:
        """Leaves the rest to the loop, from the first thing that the coroutine waits for."""
        from asyncio import _set_running_loop
        from asyncio.tasks import _leave_task

        assert self._loop is not None
        assert self.task is not None
        _leave_task(self._loop, self.task)
        _set_running_loop(None)
        self._waiting = waiting
        return self._loop.run_until_complete(self.task)

    async def _rest(self) -> Any:
        return await self._forward()

    @generator_coroutine
    def _forward(self) -> Generator[Any, Any, Any]:
        """What ``await`` would do with a coroutine that has not begun elsewhere."""
        coroutine, waiting = self.coroutine, self._waiting
        try:
            while True:
                try:
                    answer = yield waiting
                except BaseException as error:
                    waiting = coroutine.throw(error)
                else:
                    waiting = coroutine.send(answer)
        except StopIteration as end:
            return end.value


# Made in the template, and used by one coroutine at a time.
_driver = _Driver()


def close_generators() -> None:
    """From now on this thread ends asynchronous generators as a loop would; a fork of it too."""
    sys.set_asyncgen_hooks(None, _close)


def _close(generator: AsyncGenerator[Any, Any]) -> None:
    """Ends an asynchronous generator that was left in the middle, as a loop would with a task."""
    closing: Any = generator.aclose()
    if is_imported():
        from asyncio import _get_running_loop

        loop = _get_running_loop()
        if loop is not None:
            loop.create_task(closing)
            return
    try:
        while True:
            closing.send(None)
    except StopIteration:
        pass
