"""Finds a controller and its contract, and runs one request of it in this process."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from magic._context import Caller, RequestContext
from magic._contract import MARK
from magic._errors import MagicError, OutputError
from magic._output import encode_output
from magic._runner._entry import Entry, LoadFailure, entry_of, find
from magic._session import Session
from magic.testing._broker import FakeBroker

__all__ = ["load", "run", "run_async"]

_numbers = itertools.count(1)


def load(path: str | Path) -> Callable[..., Any]:
    """Imports a controller's file as the runtime does and returns its class or function.

    Modules beside the file are imported anew for each controller, so that two
    controllers may both have a ``helpers.py``.
    """
    file = Path(path).resolve()
    if file.is_dir():
        file = file / "controller.py"
    folder = str(file.parent)
    before = set(sys.modules)
    sys.path.insert(0, folder)
    try:
        spec = spec_from_file_location(f"magic_testing_{next(_numbers)}_{file.stem}", file)
        if spec is None or spec.loader is None:
            raise MagicError(f"{file} is not a Python source file")
        module = module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return find(module, None).target
    except LoadFailure as failure:
        raise _explained(failure) from None
    finally:
        sys.path.remove(folder)
        for name in set(sys.modules) - before:
            origin = getattr(sys.modules[name], "__file__", None)
            # The controller itself stays: pickle and inspect look it up by name.
            if origin and origin != str(file) and Path(origin).is_relative_to(folder):
                del sys.modules[name]


def run(
    controller: str | Path | Callable[..., Any],
    input: object,
    *,
    contract: Mapping[str, Any] | str | Path | None = None,
    broker: FakeBroker | None = None,
    caller: str = "anonymous",
    roles: tuple[str, ...] = (),
    timeout: float = 30.0,
) -> Any:
    """Runs one request and returns the output as its caller would see it.

    ``controller`` is a path, a folder, or the class or function itself.
    Whatever the controller raises comes out unchanged; an output that is not
    JSON raises OutputError. Either way the run has failed and leaves nothing
    behind in the broker. ``timeout`` (seconds) sets the context's deadline and
    is not enforced.
    """
    return asyncio.run(
        run_async(controller, input, contract=contract, broker=broker, caller=caller, roles=roles, timeout=timeout)
    )


async def run_async(
    controller: str | Path | Callable[..., Any],
    input: object,
    *,
    contract: Mapping[str, Any] | str | Path | None = None,
    broker: FakeBroker | None = None,
    caller: str = "anonymous",
    roles: tuple[str, ...] = (),
    timeout: float = 30.0,
) -> Any:
    """As ``run``, for tests that already have an event loop."""
    target = load(controller) if isinstance(controller, (str, Path)) else controller
    document, reason = _contract_of(target, contract)
    try:
        entry = entry_of(target, document.get("name") if document else None)
    except LoadFailure as failure:
        raise _explained(failure) from None
    context = RequestContext(
        request_id=f"req_test{next(_numbers)}",
        deadline=time.monotonic() + timeout,
        caller=Caller(caller, roles),
        version=str(document.get("version", "0.0.0")) if document else "0.0.0",
        controller=str(document.get("name", entry.name)) if document else entry.name,
    )
    try:
        value = json.loads(encode_output(input))
    except OutputError as error:
        raise MagicError(f"the test's input is not JSON at {error.path or 'the top'}: {error}") from None
    broker = broker or FakeBroker()
    broker.bind(document, reason)
    succeeded = False
    try:
        result = await _execute(entry, value, Session(broker, context))
        output = json.loads(encode_output(result))
        succeeded = True
        return output
    finally:
        broker.end(succeeded=succeeded)


async def _execute(entry: Entry, value: object, session: Session) -> object:
    result = entry.call(value, session)
    return await result if inspect.isawaitable(result) else result


def _explained(failure: LoadFailure) -> MagicError:
    hint = failure.report["hint"]
    return MagicError(f"{failure}; {hint}" if hint else str(failure))


def _contract_of(
    target: Callable[..., Any], given: Mapping[str, Any] | str | Path | None
) -> tuple[Mapping[str, Any] | None, str]:
    """The contract as a document, or None and what to do about it."""
    if isinstance(given, Mapping):
        return given, ""
    if given is not None:
        path = Path(given)
    else:
        mark = vars(target).get(MARK)
        module = sys.modules.get(target.__module__)
        origin = getattr(module, "__file__", None)
        if not isinstance(mark, str) or origin is None:
            return None, f"mark {target.__name__} with @contract, or pass contract="
        path = Path(origin).parent / mark
    if not path.is_file():
        return None, f"there is no file {path}"
    if path.suffix == ".json":
        document = json.loads(path.read_text("utf-8"))
        return (document, "") if isinstance(document, dict) else (None, f"{path} does not hold an object")
    return _ask_program(path)


def _ask_program(path: Path) -> tuple[Mapping[str, Any] | None, str]:
    """``magic validate --json`` prints what it checked, each with the parsed document under ``contract``."""
    program = os.environ.get("MAGIC_BINARY") or shutil.which("magic")
    if not program:
        return None, f"to read {path.name}, put the magic program on PATH or set MAGIC_BINARY, or pass contract= as a dict"
    answer = subprocess.run([program, "validate", "--json", str(path)], capture_output=True, text=True, check=False)
    try:
        document = json.loads(answer.stdout)["checked"][0]["contract"]
    except (ValueError, LookupError, TypeError):
        return None, f"{program} could not read {path}: {(answer.stderr or answer.stdout).strip()[:2000]}"
    return (document, "") if isinstance(document, dict) else (None, f"{program} does not tell the contract of {path}")
