"""What two workers of one template share: nothing that a request made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import HEADER, as_execute
from driver import Template


def test_random_numbers_differ_between_workers(template: Callable[..., Template]) -> None:
    source = (
        "import random, secrets, ssl, tempfile, uuid\nrandom.random(); next(tempfile._get_candidate_names())\n"
        + as_execute(
            """
        return [random.random(), random.getrandbits(64), secrets.token_hex(), str(uuid.uuid4()),
                ssl.RAND_bytes(8).hex(), next(tempfile._get_candidate_names())]
        """
        )
    )
    started = template(source)
    # Both are forked before either draws.
    workers = [started.fork().make_ready() for _ in range(3)]
    draws = []
    for worker in workers:
        worker.execute({})
        draws.append(worker.outcome()["result"])
    for column in zip(*draws, strict=True):
        assert len(set(column)) == len(workers), column


def test_a_global_generator_of_numpy_is_reseeded(template: Callable[..., Template], tmp_path: Path) -> None:
    # A stand-in: what counts is that the runner calls seed() in every worker.
    package = tmp_path / "numpy"
    package.mkdir()
    (package / "__init__.py").write_text("from . import random\n")
    (package / "random.py").write_text("import os\nstate = 0\ndef seed():\n    global state\n    state = os.urandom(8).hex()\n")
    started = template("import numpy\n" + as_execute("return numpy.random.state"))
    assert len({started.serve({}).outcome()["result"] for _ in range(2)} - {0}) == 2


def test_a_generator_that_may_not_be_imported_is_not_reseeded(template: Callable[..., Template]) -> None:
    started = template("import sys\nsys.modules['numpy.random'] = None\n" + as_execute("return 1"))
    assert started.serve({}).outcome()["result"] == 1


def test_nothing_leaks_from_one_request_to_the_next(template: Callable[..., Template]) -> None:
    source = "import json, locale, os, signal, sys\nseen = []\nsys_path = list(sys.path)\n" + as_execute(
        """
        found = [len(seen), os.environ.get("LEAK"), os.getcwd(), json.loads("1"), sys.path == sys_path,
                 signal.getsignal(signal.SIGALRM) == signal.SIG_DFL, hasattr(Controller, "leak"), os.umask(0o77)]
        seen.append(1)
        os.environ["LEAK"] = "1"
        os.chdir("/usr")
        json.loads = lambda text: "patched"
        sys.path.append("/leak")
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        Controller.leak = 1
        return found
        """
    )
    started = template(source)
    first, second = (started.serve({}).outcome()["result"] for _ in range(2))
    assert first == second
    assert first[0] == 0


def test_a_controller_object_is_made_anew_for_each_request(template: Callable[..., Template]) -> None:
    source = (
        HEADER
        + "@contract('x')\nclass Sample(Controller):\n    def __init__(self): self.log.info('made'); self.n = 0\n"
        + "    def execute(self, input):\n        self.n += 1\n        return self.n\n"
    )
    started = template(source)
    for _ in range(2):
        worker = started.serve({})
        assert worker.outcome()["result"] == 1
        assert [line["message"] for line in worker.logs] == ["made"]


def test_a_worker_holds_four_descriptors(template: Callable[..., Template]) -> None:
    body = """
        import os
        found = []
        for descriptor in range(64):
            try:
                os.fstat(descriptor)
            except OSError:
                continue
            found.append(descriptor)
        return found
    """
    started = template(as_execute(body))
    assert started.serve({}).outcome()["result"] == [0, 1, 2, 3]
    # Asyncio has not added one of its own, and a second worker gets no descriptor of the first.
    assert started.serve({}).outcome()["result"] == [0, 1, 2, 3]
    pristine = started.fork("serve").make_ready()
    pristine.execute({})
    assert pristine.outcome()["result"] == [0, 1, 2, 3]


def test_descriptors_closed_by_the_import_are_filled_again(template: Callable[..., Template]) -> None:
    started = template("import os\nos.close(0); os.close(1); os.close(2)\n" + as_execute("print('here'); return 1"))
    worker = started.serve({})
    assert worker.outcome()["result"] == 1
    assert worker.output() == ("here\n", "")


SIGNAL = """
    import os, signal
    try:
        os.kill(input["pid"], 0)
    except OSError as error:
        return type(error).__name__
    return "signalled"
"""


@pytest.mark.parametrize("confined", [True, False])
def test_a_worker_cannot_signal_its_sibling_or_template(template: Callable[..., Template], confined: bool) -> None:
    expected = "PermissionError" if confined else "signalled"
    started = template(as_execute(SIGNAL), worker_domain=confined)
    sibling = started.fork().make_ready()
    for pid in (sibling.pid, started.pid):
        assert started.serve({"pid": pid}).outcome()["result"] == expected


def test_a_worker_writes_no_file(template: Callable[..., Template], tmp_path: Path) -> None:
    body = "open(input['path'], 'w')"
    path = str(tmp_path / "made")
    confined = template(as_execute(body)).serve({"path": path}).outcome()
    assert confined["error"]["exception"] == "PermissionError"
    open_wide: Any = template(as_execute(body), worker_domain=False).serve({"path": path}).outcome()
    assert open_wide == {"id": 0, "result": None}
