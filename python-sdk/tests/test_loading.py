"""What a template says about a module that loads, and about one that does not."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import HEADER, as_execute
from driver import Template
from magic._runner import _kernel

GOOD = as_execute("return {}")

LOADED = {
    "class": (GOOD, ("class", "Sample", True)),
    "suffix": (GOOD.replace("class Sample", "class SampleController"), ("class", "SampleController", True)),
    "plain": (as_execute("return {}", asynchronous=False), ("class", "Sample", False)),
    "function": (HEADER + "@contract('x')\nasync def handle(input, ctx): return {}\n", ("function", "handle", True)),
    "bare function": (HEADER + "@contract('x')\ndef handle(input): return {}\n", ("function", "handle", False)),
    "alias": (GOOD + "Again = Sample\n", ("class", "Sample", True)),
    "wrapped": (
        HEADER
        + "import functools\n"
        + "def deco(f):\n    @functools.wraps(f)\n    def g(*a): return f(*a)\n    return g\n"
        + "@contract('x')\nclass Sample(Controller):\n    @deco\n    async def execute(self, input): return {}\n",
        ("class", "Sample", True),
    ),
}


@pytest.mark.parametrize("case", LOADED)
def test_loads(template: Callable[..., Template], python: str, write: Callable[[str], Path], case: str) -> None:
    source, expected = LOADED[case]
    with Template(python) as started:
        message = started.start(write(source))
        assert message == {"type": "loaded", "entry": expected[0], "name": expected[1], "is_async": expected[2]}
        assert started.serve({}).outcome() == {"id": 0, "result": {}}


FAILED = {
    "missing module": ("import nowhere_to_be_found", "import", "ModuleNotFoundError", "put nowhere_to_be_found.py beside"),
    "relative import": ("from . import helper", "import", "ImportError", "write `import name`"),
    "syntax": ("def broken(:\n    pass", "syntax", "SyntaxError", None),
    "indentation": ("def f():\nreturn 1", "syntax", "IndentationError", None),
    "null byte": ("x = 1\0", "syntax", None, None),
    "raises": ("raise ValueError('no')", "import", "ValueError", None),
    "base exception": ("class Odd(BaseException): pass\nraise Odd('no')", "import", "Odd", None),
    "interrupt": ("raise KeyboardInterrupt", "import", "KeyboardInterrupt", None),
    "exit": ("import sys; sys.exit(0)", "exited", "SystemExit", "remove the call of exit"),
    "recursion": ("def f(): f()\nf()", "import", "RecursionError", None),
    "unprintable": ("class E(Exception):\n  def __str__(self): raise E\nraise E", "import", "E", None),
    "nothing": ("x = 1", "no_entry_point", None, "class Sample(Controller)"),
    "unmarked": ("from magic import Controller\nclass Sample(Controller): pass", "no_entry_point", None, "above class Sample"),
    "two": (GOOD + GOOD.replace("class Sample", "class Other"), "ambiguous_entry_point", None, "keep @contract on one"),
    "not derived": (HEADER + "@contract('x')\nclass Sample: pass", "bad_entry_point", None, "class Sample(Controller)"),
    "other name": (GOOD.replace("class Sample", "class Simple"), "bad_entry_point", None, "name the class Sample or"),
    "no execute": (HEADER + "@contract('x')\nclass Sample(Controller): pass", "bad_entry_point", None, "execute(self, input)"),
    "generator": (as_execute("yield 1"), "bad_entry_point", None, "yield none"),
    "no argument": (GOOD.replace("(self, input)", "(self)"), "bad_entry_point", None, "execute(self, input)"),
    "no parentheses": (GOOD.replace("('./sample.contract.yaml')", ""), "import", "TypeError", None),
}


@pytest.mark.parametrize("case", FAILED)
def test_fails_with_a_reason(python: str, write: Callable[[str], Path], case: str) -> None:
    source, kind, exception, hint = FAILED[case]
    with Template(python) as started:
        message = started.start(write(source))
        assert (message["type"], message["kind"]) == ("failed", kind), message
        if exception is not None:
            assert message["exception"] == exception
        if hint is not None:
            assert hint in message["hint"]
        assert "magic/" not in message["traceback"]
        assert "frozen importlib" not in message["traceback"]
        # Nothing waits for further orders in a template that failed.
        with pytest.raises(EOFError):
            started.receive()


def test_traceback_of_an_import_shows_the_line(python: str, tmp_path: Path, write: Callable[[str], Path]) -> None:
    (tmp_path / "helper.py").write_text("def deep():\n    return {}['missing']\nVALUE = deep()\n")
    with Template(python) as started:
        message = started.start(write("import helper\n"))
    assert message["traceback"].splitlines() == [
        "Traceback (most recent call last):",
        '  File "controller.py", line 1, in <module>',
        "    import helper",
        '  File "helper.py", line 3, in <module>',
        "    VALUE = deep()",
        '  File "helper.py", line 2, in deep',
        "    return {}['missing']",
        "KeyError: 'missing'",
    ]


def test_a_huge_failure_fits_one_message(python: str, write: Callable[[str], Path]) -> None:
    with Template(python) as started:
        message = started.start(write("raise ValueError('\\x01\\ud800' * 10**6)"))
    assert message["exception"] == "ValueError"


def test_a_module_that_forks_reports_once(python: str, write: Callable[[str], Path]) -> None:
    with Template(python) as started:
        assert started.start(write("import os\nif os.fork() == 0: pass\n" + GOOD))["type"] == "loaded"
        assert started.serve({}).outcome() == {"id": 0, "result": {}}


def test_helpers_beside_the_controller_are_found(template: Callable[..., Template], tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("VALUE = 7\n")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "__init__.py").write_text("")
    (tmp_path / "parts" / "one.py").write_text("from . import __name__ as name\n")
    source = "import helper\nfrom parts import one\n" + as_execute("return [helper.VALUE, one.name]")
    assert template(source).serve({}).outcome()["result"] == [7, "parts"]


def test_a_controller_is_imported_without_ssl_but_may_have_it(template: Callable[..., Template]) -> None:
    source = as_execute(
        """
        import sys
        before = "ssl" in sys.modules
        import ssl
        return [before, ssl.OPENSSL_VERSION.split()[0]]
        """
    )
    assert template(source).serve({}).outcome()["result"] == [False, "OpenSSL"]


def test_an_idle_template_imports_little(template: Callable[..., Template]) -> None:
    started = template(as_execute("import sys; return sorted(sys.modules)", asynchronous=False))
    modules = started.serve({}).outcome()["result"]
    heavy = {"asyncio", "typing", "inspect", "traceback", "dataclasses", "logging", "subprocess", "socket", "ssl"}
    assert heavy.isdisjoint(modules)
    assert len(modules) < 85, modules


def test_memory_of_the_process_cannot_be_read(template: Callable[..., Template]) -> None:
    body = "import ctypes; return ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)"
    assert template(as_execute(body)).serve({}).outcome()["result"] == 0


def test_end_of_the_control_channel_ends_the_template(template: Callable[..., Template]) -> None:
    started = template(GOOD)
    started.control.close()
    assert started.wait() == 0


def test_prints_of_the_import_go_to_the_templates_own_pipes(template: Callable[..., Template]) -> None:
    started = template("import sys\nprint('out \\ud800', end='')\nprint('err', file=sys.stderr)\n" + GOOD)
    worker = started.serve({})
    assert worker.outcome()["result"] == {}
    assert worker.output() == ("", "")
    assert started.printed() == ("out \\ud800", "err\n")


@pytest.mark.parametrize("garbage", [b"\xff\xff", b"{", b"[]", b"null", b'{"type":"dance"}', b"[" * 60000, b"{}" * 40000])
def test_garbage_on_the_control_channel_is_ignored(template: Callable[..., Template], garbage: bytes) -> None:
    started = template(GOOD)
    started.send(garbage)
    started.send(garbage, [0])
    started.send({"type": "fork"})
    started.send({"type": "fork"}, [0, 0])
    assert started.serve({}).outcome() == {"id": 0, "result": {}}


def test_exits_are_reported_when_asked_for(template: Callable[..., Template]) -> None:
    started = template(as_execute("import os; os.kill(os.getpid(), 9)"), report_exits=True)
    worker = started.serve({})
    with pytest.raises(EOFError):
        worker.outcome()
    assert started.receive() == {"type": "exited", "pid": worker.pid, "status": signal.SIGKILL}


def test_a_fork_that_fails_costs_only_its_order(template: Callable[..., Template]) -> None:
    source = (
        "import os\nreal = os.fork\nleft = [2]\ndef fork():\n    if left[0]:\n        left[0] -= 1\n"
        "        raise BlockingIOError(11, 'no')\n    return real()\nos.fork = fork\n"
    )
    started = template(source + GOOD)
    for _ in range(2):
        assert started.fork().ended()
    assert started.serve({}).outcome() == {"id": 0, "result": {}}


def test_pristine_serves_in_the_template_itself(template: Callable[..., Template]) -> None:
    started = template(as_execute("import os; return os.getpid()"))
    worker = started.fork("serve").make_ready()
    worker.execute({})
    assert worker.pid == started.pid
    assert worker.outcome()["result"] == started.pid
    worker.close()
    assert started.wait() == 0


def test_a_limit_of_the_heap_holds(template: Callable[..., Template]) -> None:
    started = template(as_execute("return len(bytearray(200 * 2**20))"), heap_limit=100 * 2**20)
    error: dict[str, Any] = started.serve({}).outcome()["error"]
    assert (error["kind"], error["exception"]) == ("memory", "MemoryError")
    assert started.serve({}).outcome()["error"]["kind"] == "memory"


def test_a_python_without_ctypes_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ctypes", None)
    with pytest.raises(_kernel.Unconfinable, match="built without ctypes"):
        _kernel.set_undumpable()


def test_a_module_that_breaks_the_interpreter_is_a_failure(python: str, write: Callable[[str], Path]) -> None:
    with Template(python) as started:
        message = started.start(write("import gc\ngc.freeze = None\n" + GOOD))
    assert message["kind"] == "import"
    assert "cannot start" in message["message"]


def test_a_worker_whose_request_waits_does_not_report_first(template: Callable[..., Template]) -> None:
    worker = template(as_execute("return 1")).fork()
    worker.greet(b"n")
    worker.execute({})
    assert worker.frame() == {"id": 0, "result": 1}


def test_a_worker_without_leave_ends(template: Callable[..., Template]) -> None:
    worker = template(as_execute("return 1")).fork()
    worker.greet(b"x")
    assert worker.ended()
