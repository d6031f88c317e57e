"""The last frame of a request, for every way in which a controller can end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from conftest import HEADER, as_execute
from driver import Template

Run = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_value_is_returned(run: Run, asynchronous: bool) -> None:
    assert run("return {'echo': input}", {"ä": [1, 2.5, None, True]}, asynchronous=asynchronous) == {
        "id": 0,
        "result": {"echo": {"ä": [1, 2.5, None, True]}},
    }


@pytest.mark.parametrize("asynchronous", [True, False])
def test_an_exception_is_told_with_the_authors_frames(run: Run, asynchronous: bool) -> None:
    error = run("raise ValueError('no such thing')", asynchronous=asynchronous)["error"]
    assert error == {
        "kind": "raised",
        "exception": "ValueError",
        "message": "no such thing",
        "traceback": (
            "Traceback (most recent call last):\n"
            '  File "controller.py", line 5, in execute\n'
            "    raise ValueError('no such thing')\n"
            "ValueError: no such thing\n"
        ),
        "code": None,
        "details": None,
        "retriable": False,
    }


def test_chains_of_exceptions_are_shown(run: Run) -> None:
    body = """
        import json
        try:
            json.loads("{")
        except ValueError as error:
            raise RuntimeError("outer") from error
    """
    trace = run(body)["error"]["traceback"]
    assert "JSONDecodeError" in trace
    assert "direct cause" in trace
    assert "decoder.py" not in trace
    assert trace.count("controller.py") == 2


def test_groups_of_exceptions_are_shown(run: Run) -> None:
    error = run("raise ExceptionGroup('both', [ValueError('one'), KeyError('two')])")["error"]
    assert error["exception"] == "ExceptionGroup"
    assert "ValueError: one" in error["traceback"]
    assert "KeyError: 'two'" in error["traceback"]


def test_the_authors_own_error_carries_code_and_details(run: Run) -> None:
    body = "raise ControllerError('unknown', code='CUSTOMER_UNKNOWN', details={'id': 7, 'odd': {1}}, retriable=True)"
    error = run(body)["error"]
    assert error["kind"] == "raised"
    assert (error["exception"], error["message"]) == ("ControllerError", "unknown")
    assert (error["code"], error["details"], error["retriable"]) == ("CUSTOMER_UNKNOWN", {"id": 7, "odd": "{1}"}, True)


def test_a_subclass_states_its_code_once(template: Callable[..., Template]) -> None:
    source = HEADER + "class Gone(ControllerError):\n    code = 'GONE'\n" + as_execute("raise Gone()").removeprefix(HEADER)
    error = template(source).serve({}).outcome()["error"]
    assert (error["exception"], error["code"]) == ("Gone", "GONE")


HOSTILE = {
    "str raises": ("class E(Exception):\n    def __str__(self): raise E\nraise E", "E", "that cannot be shown"),
    "str exits": ("class E(Exception):\n    def __str__(self): raise SystemExit\nraise E", "E", "that cannot be shown"),
    "attributes raise": (
        "class E(ControllerError):\n    @property\n    def code(self): raise E\nraise E('here')",
        "E",
        "here",
    ),
    "huge message": ("raise ValueError('x' * 10**7)", "ValueError", "more characters"),
    "surrogate": ("raise ValueError('\\ud800')", "ValueError", "?"),
    "cycle": ("a = ValueError('a'); b = KeyError('b'); a.__cause__ = b; b.__cause__ = a; raise a", "ValueError", "a"),
    "long chain": (
        "e = None\nfor n in range(5000):\n    f = ValueError(n); f.__cause__ = e; e = f\nraise e",
        "ValueError",
        "4999",
    ),
    "deep group": ("e = ValueError('x')\nfor n in range(500): e = ExceptionGroup('g', [e])\nraise e", "ExceptionGroup", "g"),
    "recursion": ("def f(): f()\nf()", "RecursionError", "recursion"),
    "limitless recursion": (
        "import sys\ndef f(n): return n and f(n - 1)\nsys.setrecursionlimit(20000)\nf(15000)\nraise ValueError('deep')",
        "ValueError",
        "deep",
    ),
    "base exception": ("class E(BaseException): pass\nraise E('odd')", "E", "odd"),
    "interrupt": ("raise KeyboardInterrupt", "KeyboardInterrupt", ""),
    "stop iteration": ("raise StopIteration('x')", "RuntimeError", "StopIteration"),
    "generator exit": ("raise GeneratorExit", "GeneratorExit", ""),
    "cancelled": ("import asyncio; raise asyncio.CancelledError", "CancelledError", ""),
    "not an exception": ("raise 7", "TypeError", "exceptions must derive"),
    "linecache": ("import linecache; linecache.getline = None; raise ValueError('x')", "ValueError", "x"),
    "code without a file": ("exec(compile('1/0', '<made>', 'exec'))", "ZeroDivisionError", "division"),
    "renamed type": ("E = type('E' * 10**6, (Exception,), {})\nraise E('x')", "EEEE", "x"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_exceptions_are_described(run: Run, case: str) -> None:
    body, exception, message = HOSTILE[case]
    error = run(body)["error"]
    assert error["kind"] == "raised", error
    assert error["exception"].startswith(exception)
    assert message in error["message"]
    assert len(error["message"]) < 5000
    assert len(error["traceback"].encode()) <= 16 * 1024


@pytest.mark.parametrize(("value", "status"), [("", 0), ("3", 3), ("'text'", 1), ("None", 0), ("-1", 255)])
@pytest.mark.parametrize("asynchronous", [True, False])
def test_exit_is_told_with_its_status(run: Run, value: str, status: int, asynchronous: bool) -> None:
    assert run(f"import sys; sys.exit({value})", asynchronous=asynchronous) == {
        "id": 0,
        "error": {"kind": "exited", "status": status},
    }


def test_exit_in_a_task_ends_the_request(run: Run) -> None:
    body = """
        import asyncio
        async def leave():
            raise SystemExit(4)
        task = asyncio.create_task(leave())
        await asyncio.sleep(20)
    """
    assert run(body)["error"] == {"kind": "exited", "status": 4}


def test_out_of_memory_is_its_own_kind(run: Run) -> None:
    assert run("raise MemoryError")["error"]["kind"] == "memory"


@pytest.mark.parametrize("body", ["os._exit(0)", "os.close(3)\nos._exit(0)", "os.kill(os.getpid(), 11)"])
def test_a_process_that_vanishes_ends_the_channel(template: Callable[..., Template], body: str) -> None:
    started = template(as_execute("import os\n" + body))
    worker = started.serve({})
    with pytest.raises(EOFError):
        worker.outcome()
    # And the next request is none the worse for it.
    worker = started.serve({})
    with pytest.raises(EOFError):
        worker.outcome()


def test_output_is_captured_by_line_before_the_result(template: Callable[..., Template]) -> None:
    source = as_execute(
        """
        import sys
        print("ä", "\\ud800", "\\x1b[31m")
        print("no newline", end="", flush=True)
        sys.stderr.write("warned")
        sys.stdout.buffer.write(b"\\xc3\\xa9")
        return 1
        """
    )
    worker = template(source).serve({})
    assert worker.outcome()["result"] == 1
    assert worker.output() == ("ä \\ud800 \x1b[31m\nno newlineé", "warned")


def test_a_flood_of_output_does_not_hang(run: Run) -> None:
    assert run("for _ in range(2000): print('x' * 1000)\nreturn 1") == {"id": 0, "result": 1}


def test_replaced_streams_do_no_harm(run: Run) -> None:
    assert run("import sys; sys.stdout = 7; sys.stderr = None; return 1") == {"id": 0, "result": 1}


def test_log_lines_are_safe_and_bounded(template: Callable[..., Template]) -> None:
    source = as_execute(
        """
        class Odd:
            def __repr__(self): raise ValueError
        loop = []; loop.append(loop)
        self.log.debug("one", n=1, text="x" * 10**6, odd=Odd(), s={1}, nan=float("nan"), big=10**30, loop=loop)
        self.log.info(Odd(), message="kept", level="kept too")
        self.log.warning("many", **{f"f{n}": n for n in range(500)})
        self.log.error("\\ud800")
        return 1
        """
    )
    worker = template(source).serve({})
    assert worker.outcome()["result"] == 1
    assert [line["level"] for line in worker.logs] == ["debug", "info", "warning", "error"]
    fields = worker.logs[0]["fields"]
    assert (fields["n"], fields["s"], fields["nan"], fields["big"]) == (1, "{1}", "nan", str(10**30))
    assert len(fields["text"]) < 3000
    assert fields["odd"] == "<Odd that cannot be shown>"
    assert worker.logs[1]["fields"] == {"message": "kept", "level": "kept too"}
    assert len(worker.logs[2]["fields"]) == 64
    assert worker.logs[3]["message"] == "?"


@pytest.mark.parametrize(
    "form",
    [
        "@contract('x')\nasync def handle(input, ctx):\n    c = ctx.context; ctx.log.info('x')\n",
        "@contract('x')\ndef handle(input, ctx):\n    c = ctx.context; ctx.log.info('x')\n",
        "@contract('x')\nclass Sample(Controller):\n  def execute(self, input):\n    c = self.context; self.log.info('x')\n",
    ],
)
def test_the_context_tells_the_facts(template: Callable[..., Template], form: str) -> None:
    body = "    return [c.request_id, 0 < c.remaining() <= 30, c.caller.subject, list(c.caller.roles), c.version]\n"
    worker = template(HEADER + form + body).serve({})
    assert worker.outcome()["result"] == ["req_test", True, "anonymous", ["execute"], "1.2.0"]
    assert worker.logs[0]["message"] == "x"


def test_frames_hold_no_other_request(run: Run) -> None:
    # Walking up the frames is allowed; there is just nothing to find.
    body = """
        import sys
        frame, seen = sys._getframe(), []
        while frame:
            seen.append(frame.f_code.co_name)
            frame = frame.f_back
        return seen
    """
    assert run(body)["result"][-1] == "<module>"
