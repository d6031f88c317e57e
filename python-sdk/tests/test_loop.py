"""asyncio on the worker's loop, and capability calls over its channel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from conftest import as_execute
from driver import Template

Run = Callable[..., dict[str, Any]]

WORKS = {
    "sleep": ("await asyncio.sleep(0.01); return 1", 1),
    "gather": ("async def f(n): await asyncio.sleep(0.01); return n\nreturn await asyncio.gather(f(1), f(2))", [1, 2]),
    "wait_for": (
        "try:\n    await asyncio.wait_for(asyncio.sleep(30), 0.01)\nexcept TimeoutError:\n    return 'late'",
        "late",
    ),
    "timeout": (
        "try:\n    async with asyncio.timeout(0.01): await asyncio.sleep(30)\nexcept TimeoutError:\n    return 'late'",
        "late",
    ),
    "task group": (
        "async def f(n): await asyncio.sleep(0); return n\n"
        "async with asyncio.TaskGroup() as group: tasks = [group.create_task(f(n)) for n in range(3)]\n"
        "return [task.result() for task in tasks]",
        [0, 1, 2],
    ),
    "queue": (
        "queue = asyncio.Queue(1)\n"
        "async def fill():\n    for n in range(5): await queue.put(n)\n"
        "task = asyncio.create_task(fill())\nreturn [await queue.get() for _ in range(5)]",
        [0, 1, 2, 3, 4],
    ),
    "lock": (
        "lock, seen = asyncio.Lock(), []\nasync def f(n):\n    async with lock: seen.append(n)\n"
        "await asyncio.gather(*map(f, range(3)))\nreturn seen",
        [0, 1, 2],
    ),
    "event": (
        "event = asyncio.Event()\nasyncio.get_running_loop().call_later(0.01, event.set)\nawait event.wait()\nreturn 1",
        1,
    ),
    "to_thread": ("import threading\nreturn await asyncio.to_thread(threading.active_count) >= 2", True),
    "executor": ("return await asyncio.get_running_loop().run_in_executor(None, sum, [1, 2])", 3),
    "many threads": (
        "return sum(await asyncio.gather(*[asyncio.to_thread(lambda n=n: n) for n in range(200)]))",
        19900,
    ),
    "thread wakes the loop": (
        "import threading\nloop = asyncio.get_running_loop(); future = loop.create_future()\n"
        "threading.Thread(target=lambda: loop.call_soon_threadsafe(future.set_result, 5)).start()\nreturn await future",
        5,
    ),
    "coroutine from a thread": (
        "async def f(): return 6\nloop = asyncio.get_running_loop()\n"
        "return await asyncio.to_thread(lambda: asyncio.run_coroutine_threadsafe(f(), loop).result())",
        6,
    ),
    "asynchronous generator": ("async def g():\n    for n in range(3): yield n\nreturn [n async for n in g()]", [0, 1, 2]),
    "cancel": (
        "task = asyncio.create_task(asyncio.sleep(30)); await asyncio.sleep(0); task.cancel()\n"
        "try:\n    await task\nexcept asyncio.CancelledError:\n    return 'cancelled'",
        "cancelled",
    ),
    "context variables": (
        "import contextvars\nv = contextvars.ContextVar('v')\nv.set(3)\nasync def f(): return v.get()\n"
        "return await asyncio.create_task(f())",
        3,
    ),
    "wait": ("done, left = await asyncio.wait([asyncio.ensure_future(asyncio.sleep(0, 2))])\nreturn done.pop().result()", 2),
}


@pytest.mark.parametrize("case", WORKS)
def test_asyncio_works(run: Run, case: str) -> None:
    body, expected = WORKS[case]
    assert run("import asyncio\n" + body) == {"id": 0, "result": expected}


@pytest.mark.parametrize("case", WORKS)
def test_asyncio_works_when_it_is_imported_unannounced(run: Run, case: str) -> None:
    body, expected = WORKS[case]
    # Nothing in the source says what is imported, so the request begins without a loop.
    hidden = body.replace("asyncio", "library")
    assert run(f"library = __import__('async' 'io')\n{hidden}") == {"id": 0, "result": expected}


def test_a_wait_that_began_before_asyncio_came_ends(run: Run) -> None:
    body = """
        async def inner():
            library = __import__('async' 'io')
            task = library.current_task()
            before = library.get_running_loop()
            async with library.timeout(30):
                await library.sleep(0.01)
            return task is library.current_task() and before is library.get_running_loop()
        try:
            return [await inner(), 'ssl' in __import__('sys').modules]
        finally:
            self.log.info("end")
        """
    assert run(body) == {"id": 0, "result": [True, False]}


WITHOUT = {
    "nothing awaited": ("return 1", 1),
    "nested": ("async def f(n): return n if n == 0 else await f(n - 1)\nreturn await f(50)", 0),
    "no asyncio": ("import sys\nreturn 'async' 'io' in sys.modules", False),
    "asynchronous generator": ("async def g():\n    for n in range(3): yield n\nreturn [n async for n in g()]", [0, 1, 2]),
    "generator left in the middle": (
        "seen = []\nasync def g():\n    try:\n        yield 1\n    finally:\n        await nothing()\n        seen.append(2)\n"
        "async def nothing(): pass\nasync for n in g(): break\nreturn seen",
        [2],
    ),
    "asynchronous context manager": (
        "import contextlib\n@contextlib.asynccontextmanager\nasync def c(): yield 4\nasync with c() as n: return n",
        4,
    ),
    "bare yield": ("import types\n@types.coroutine\ndef y(): yield\nawait y()\nreturn 5", 5),
    "foreign yield": (
        "import types\n@types.coroutine\ndef y(): yield 7\ntry: await y()\nexcept RuntimeError as error: return str(error)",
        "Task got bad yield: 7",
    ),
}


@pytest.mark.parametrize("case", WITHOUT)
def test_coroutines_run_without_asyncio(run: Run, case: str) -> None:
    body, expected = WITHOUT[case]
    assert run(body) == {"id": 0, "result": expected}


def test_calls_without_asyncio_wait_for_their_own_answer(template: Callable[..., Template]) -> None:
    source = as_execute(
        """
        first = await self.secrets.get("KEY")
        try:
            await self.db.query("customers")
        except CapabilityDenied as denied:
            return [first, denied.code, "async" "io" in __import__("sys").modules]
        """
    )
    worker = template(source).serve({})
    call = worker.frame()
    assert call == {"id": 1, "method": "secrets.get", "params": {"key": "KEY"}}
    # Answers to no call are dropped.
    worker.send({"id": 77, "result": "nobody asked"})
    worker.send({"id": 1, "result": "hidden"})
    assert worker.frame()["id"] == 2
    worker.send({"id": 2, "error": DENIED})
    assert worker.outcome()["result"] == ["hidden", "E2001", False]


def test_calls_go_on_when_asyncio_comes_between_them(template: Callable[..., Template]) -> None:
    source = as_execute(
        """
        first = await self.secrets.get("A")
        library = __import__("async" "io")
        return [first, *await library.gather(self.secrets.get("B"), self.secrets.get("C"))]
        """
    )
    worker = template(source).serve({})
    worker.send({"id": worker.frame()["id"], "result": "a"})
    calls = [worker.frame() for _ in range(2)]
    for call in reversed(calls):
        worker.send({"id": call["id"], "result": call["params"]["key"].lower()})
    assert worker.outcome()["result"] == ["a", "b", "c"]


LEFT_BEHIND = {
    "task": "t = asyncio.create_task(asyncio.sleep(1000))\nreturn 1",
    "task that refuses": (
        "async def stay():\n    while True:\n        try: await asyncio.sleep(1000)\n        except BaseException: pass\n"
        "t = asyncio.create_task(stay())\nawait asyncio.sleep(0)\nreturn 1"
    ),
    "thread": "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()\nreturn 1",
    "pool": "import time\nf = asyncio.get_running_loop().run_in_executor(None, time.sleep, 1000)\nreturn 1",
    "busy thread": "import threading\ndef spin():\n    while True: pass\nthreading.Thread(target=spin).start()\nreturn 1",
    "exit hook": "import atexit, time\natexit.register(time.sleep, 1000)\nreturn 1",
}


@pytest.mark.parametrize("case", LEFT_BEHIND)
def test_what_is_left_behind_does_not_delay_the_answer(template: Callable[..., Template], case: str) -> None:
    worker = template(as_execute("import asyncio\n" + LEFT_BEHIND[case])).serve({})
    assert worker.outcome() == {"id": 0, "result": 1}
    # The end of the channel ends the process, threads and all.
    worker.output()


def test_plain_code_may_return_a_coroutine(template: Callable[..., Template]) -> None:
    source = as_execute("return self.work()", asynchronous=False) + "    async def work(self): return 9\n"
    assert template(source).serve({}).outcome()["result"] == 9


def test_calls_are_answered_in_any_order(template: Callable[..., Template]) -> None:
    source = as_execute(
        """
        import asyncio
        calls = [self.db.query("customers", where={"id": n}) for n in range(3)]
        async with asyncio.TaskGroup() as group:
            one = group.create_task(self.secrets.get("KEY"))
        return [await asyncio.gather(*calls), one.result()]
        """
    )
    worker = template(source).serve({})
    first = worker.frame()
    assert first == {"id": 1, "method": "secrets.get", "params": {"key": "KEY"}}
    worker.send({"id": 1, "result": "hidden"})
    calls = [worker.frame() for _ in range(3)]
    assert [call["id"] for call in calls] == [2, 3, 4]
    assert calls[0]["params"] == {"table": "customers", "where": {"id": 0}}
    # Answers to no call, or to one that is answered already, are dropped.
    worker.send({"id": 77, "result": "nobody asked"})
    for call in reversed(calls):
        worker.send({"id": call["id"], "result": {"columns": {}, "rows": [call["params"]["where"]]}})
        worker.send({"id": call["id"], "result": "again"})
    assert worker.outcome()["result"] == [[[{"id": 0}], [{"id": 1}], [{"id": 2}]], "hidden"]


DENIED = {"code": "E2001", "message": "db:read is not declared", "details": {"capability": "db:read"}}


@pytest.mark.parametrize(
    "body",
    [
        "await self.db.query('t')",
        "import asyncio\nasync with asyncio.TaskGroup() as group: group.create_task(self.db.query('t'))",
        "try:\n    await self.db.query('t')\nfinally:\n    self.log.info('cleaned')",
    ],
)
def test_a_denial_left_alone_is_told_as_such(template: Callable[..., Template], body: str) -> None:
    worker = template(as_execute(body)).serve({})
    worker.send({"id": worker.frame()["id"], "error": DENIED})
    error = worker.outcome()["error"]
    assert (error["kind"], error["code"], error["message"]) == ("denied", "E2001", "db:read is not declared")
    assert error["details"] == {"capability": "db:read"}
    assert "_channel" not in error["traceback"]


def test_a_denial_can_be_caught(template: Callable[..., Template]) -> None:
    body = "try:\n    await self.db.query('t')\nexcept CapabilityDenied as e:\n    return [e.code, e.details, str(e)]"
    worker = template(as_execute(body)).serve({})
    worker.send({"id": worker.frame()["id"], "error": DENIED})
    assert worker.outcome()["result"] == ["E2001", {"capability": "db:read"}, "db:read is not declared"]


@pytest.mark.parametrize(
    ("code", "name"), [("E2003", "CapabilityDenied"), ("E3001", "DeadlineExceeded"), ("E3003", "BackendError")]
)
def test_errors_of_calls_have_types(template: Callable[..., Template], code: str, name: str) -> None:
    worker = template(as_execute("await self.http.post('https://x', json={})")).serve({})
    call = worker.frame()
    headers = [["content-type", "application/json"]]
    params = {"method": "POST", "url": "https://x", "headers": headers, "body": "{}"}
    assert call == {"id": 1, "method": "http.request", "params": params}
    worker.send({"id": 1, "error": {"code": code, "message": "m", "details": {"retriable": True}}})
    error = worker.outcome()["error"]
    assert (error["exception"], error["retriable"], error["code"]) == (name, True, code)


def test_plain_controllers_are_told_to_await(run: Run) -> None:
    error = run("return self.db.query('t')", asynchronous=False)["error"]
    assert error["exception"] == "MagicError"
    assert "async def" in error["message"]


@pytest.mark.parametrize(("value", "path"), [("float('nan')", "/value"), ("[{1}]", "/value/0"), ("{1: 2}", "/value")])
def test_parameters_that_are_not_json_are_refused_inside(run: Run, value: str, path: str) -> None:
    error = run(f"await self.cache.set('k', {value})")["error"]
    assert error["exception"] == "MagicError"
    assert f"the parameter {path} of cache.set" in error["message"]


def test_many_large_calls_do_not_block_each_other(template: Callable[..., Template]) -> None:
    source = as_execute(
        """
        import asyncio
        answers = await asyncio.gather(*[self.cache.set(str(n), "x" * 100_000) for n in range(60)])
        return sum(map(len, answers))
        """
    )
    worker = template(source).serve({})
    for _ in range(60):
        call = worker.frame()
        worker.send({"id": call["id"], "result": call["params"]["value"]})
    assert worker.outcome()["result"] == 6_000_000


def test_logs_from_threads_arrive_before_the_result(template: Callable[..., Template]) -> None:
    source = as_execute(
        """
        import asyncio
        def work(n):
            for m in range(50): self.log.info("line", n=n, m=m, pad="x" * 2000)
        await asyncio.gather(*[asyncio.to_thread(work, n) for n in range(8)])
        return 1
        """
    )
    worker = template(source).serve({})
    assert worker.outcome()["result"] == 1
    assert len(worker.logs) == 400


FRAMES = {
    "too long": (2**31).to_bytes(4, "big"),
    "longest": b"\xff\xff\xff\xff",
    "cut short": (100).to_bytes(4, "big") + b"{",
    "no header": b"\0\0",
    "none": b"",
}


@pytest.mark.parametrize("case", FRAMES)
def test_a_broken_stream_ends_the_worker_and_not_the_template(template: Callable[..., Template], case: str) -> None:
    started = template(as_execute("return 1"))
    worker = started.fork().make_ready()
    worker.channel.sendall(FRAMES[case])
    worker.channel.shutdown(1)
    assert worker.ended()
    assert started.serve({}).outcome()["result"] == 1


def test_bytes_in_single_pieces_are_put_together(template: Callable[..., Template]) -> None:
    worker = template(as_execute("return input")).fork().make_ready()
    payload = (
        b'{"id":0,"method":"execute","params":{"input":[1],"context":{"request_id":"r","deadline_ms":1,'
        b'"caller":{"subject":"a","roles":[]},"version":"1.0.0","controller":"S"}}}'
    )
    for byte in len(payload).to_bytes(4, "big") + payload:
        worker.channel.sendall(bytes([byte]))
    assert worker.outcome()["result"] == [1]


def test_nothing_is_sent_after_the_result(template: Callable[..., Template]) -> None:
    source = as_execute(
        """
        import threading, time
        def talk():
            while True: self.log.info("late"); time.sleep(0.001)
        threading.Thread(target=talk, daemon=True).start()
        return 1
        """
    )
    worker = template(source).serve({})
    assert worker.outcome()["result"] == 1
    worker.execute({})
    worker.channel.shutdown(1)
    assert worker.ended()
