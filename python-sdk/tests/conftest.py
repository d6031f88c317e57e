"""The interpreters and the controllers that the runner's tests use."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from driver import Template

# Landlock asks an ordinary user's process to give up gaining privileges first;
# in production the jail has done so.
PR_SET_NO_NEW_PRIVS = 38
ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _interpreters() -> list[str]:
    """The running interpreter, those of MAGIC_TEST_PYTHONS, and the supported ones pyenv has."""
    found = [sys.executable]
    found += [item for item in os.environ.get("MAGIC_TEST_PYTHONS", "").split(os.pathsep) if item]
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found += [str(path) for minor in (11, 12, 13) for path in sorted(versions.glob(f"3.{minor}.*/bin/python3"))]
    found += [path for path in [shutil.which("python3", path="/usr/bin")] if path]
    usable: dict[str, str] = {}
    for path in found:
        question = "import sys; print(*sys.version_info[:2], sys.base_exec_prefix)"
        answer = subprocess.run([path, "-I", "-S", "-c", question], capture_output=True, text=True, check=True).stdout
        major, minor, prefix = answer.split(maxsplit=2)
        if (int(major), int(minor)) in ((3, 11), (3, 12), (3, 13)):
            usable.setdefault(prefix.strip() + minor, path)
    return list(usable.values())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "python" in metafunc.fixturenames:
        metafunc.parametrize("python", _INTERPRETERS, scope="session")


_INTERPRETERS = _interpreters()

SDK_ROOT = Path(__file__).resolve().parent.parent

HEADER = "from magic import *\n"


def as_execute(body: str, *, asynchronous: bool = True) -> str:
    """A controller class whose ``execute`` has this body."""
    keyword = "async def" if asynchronous else "def"
    return (
        f"{HEADER}@contract('./sample.contract.yaml')\nclass Sample(Controller):\n    {keyword} execute(self, input):\n"
        + textwrap.indent(textwrap.dedent(body).strip("\n"), " " * 8)
        + "\n"
    )


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a controller module and returns its path."""

    def write(source: str) -> Path:
        path = tmp_path / "controller.py"
        path.write_text(textwrap.dedent(source))
        return path

    return write


@pytest.fixture
def template(python: str, write: Callable[[str], Path]) -> Iterator[Callable[..., Template]]:
    """Starts a template of a module's source and expects it to load."""
    with ExitStack() as stack:

        def make(source: str, **changes: Any) -> Template:
            template = stack.enter_context(Template(python))
            message = template.start(write(source), **changes)
            assert message["type"] == "loaded", message
            return template

        yield make


@pytest.fixture
def run(template: Callable[..., Template]) -> Callable[..., dict[str, Any]]:
    """The last frame of one request to a body of ``execute``."""

    def run(body: str, value: Any = None, *, asynchronous: bool = True, **changes: Any) -> dict[str, Any]:
        return template(as_execute(body, asynchronous=asynchronous), **changes).serve(value).outcome()

    return run
