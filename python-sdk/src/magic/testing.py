"""Runs a controller in a test, in this very process, with a broker that answers as told.

    from magic.testing import FakeBroker, run

    def test_it_sums() -> None:
        assert run("controllers/sums/controller.py", {"numbers": [1, 2]}) == {"sum": 3}

What is the same as in the runtime: the finding of the entry point, the making
of the controller object, the passage of input and output through JSON with the
same refusals, the log, the context, and that a capability which the contract
does not declare raises CapabilityDenied with E2001.

What is not: there is no sandbox and no limit, the schemas are not applied, the
allowances of a capability (tables, hosts, keys) are not looked at, and policy
is not asked. ``magic run`` does all of that, and is the last word.

The contract is found through the decorator. A JSON contract is read directly;
a YAML one is parsed by the ``magic`` program (on PATH, or named by
MAGIC_BINARY), since two parsers would come to differ. Without the program pass
``contract=`` as a dict; otherwise capability calls are refused with a message
that says so, and controllers without capabilities run as they are.
"""

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
from magic._errors import BackendError, CapabilityDenied, MagicError, OutputError
from magic._output import encode_message, encode_output
from magic._runner._entry import Entry, LoadFailure, entry_of, find
from magic._session import Session

__all__ = ["FakeBroker", "load", "run", "run_async"]

_numbers = itertools.count(1)

#: The capability that each call needs; metrics are declared under ``observability``.
_CAPABILITY = {
    "db.query": "db:read",
    "db.query_one": "db:read",
    "db.count": "db:read",
    "db.insert": "db:write",
    "db.update": "db:write",
    "db.delete": "db:write",
    "db.raw": "db:rawsql",
    "http.request": "http:egress",
    "secrets.get": "secrets:read",
    "cache.get": "cache:read",
    "cache.set": "cache:write",
    "cache.delete": "cache:write",
    "queue.publish": "queue:publish",
    "queue.receive": "queue:subscribe",
    "queue.ack": "queue:subscribe",
    "fs.temp": "fs:temp",
}


class FakeBroker:
    """Answers capability calls, and remembers calls and log lines.

    ``answers`` maps a call's name, for example ``"db.query_one"``, to its
    result, to an exception to raise, or to a function of the call's parameters.
    """

    def __init__(self, answers: Mapping[str, object] | None = None) -> None:
        self.answers = dict(answers or {})
        #: Every allowed call, in order, as (name, parameters).
        self.calls: list[tuple[str, dict[str, Any]]] = []
        #: Every log line, in order, as level, message and fields.
        self.logs: list[dict[str, Any]] = []
        self._contract: Mapping[str, Any] | None = None
        self._reason = ""

    def bind(self, contract: Mapping[str, Any] | None, reason: str) -> None:
        """Says which contract to enforce, or why there is none; ``run`` does it."""
        self._contract = contract
        self._reason = reason

    async def call(self, method: str, params: dict[str, object]) -> Any:
        """Decides and answers one call."""
        # Through JSON, so that a test sees what the supervisor would.
        try:
            sent = json.loads(encode_output(params))
        except OutputError as error:
            raise MagicError(f"the parameter {error.path} of {method} cannot be sent: {error}") from None
        self._check(method, sent)
        self.calls.append((method, sent))
        if method not in self.answers:
            raise BackendError(f"the test has no answer for {method}: give FakeBroker({{{method!r}: ...}})")
        answer = self.answers[method]
        if isinstance(answer, BaseException):
            raise answer
        if callable(answer):
            answer = answer(sent)
            if inspect.isawaitable(answer):
                answer = await answer
        return json.loads(encode_output(answer))

    def notify(self, method: str, params: dict[str, object]) -> None:
        """Keeps a log line."""
        if method == "log":
            self.logs.append(json.loads(encode_message(params)))

    def _check(self, method: str, params: Mapping[str, Any]) -> None:
        if self._contract is None:
            raise MagicError(f"{method} cannot be allowed or refused, since the contract is not known: {self._reason}")
        if method.startswith("metrics."):
            observability = self._contract.get("observability") or {}
            if params.get("name") in (observability.get("metrics") or []):
                return
            needed = f"observability.metrics: [{params.get('name')}]"
        else:
            needed = _CAPABILITY[method]
            if needed in _declared(self._contract):
                return
        raise CapabilityDenied(
            f"{method} needs {needed}, which the contract does not declare",
            code="E2001",
            details={"capability": needed, "call": method},
        )


def _declared(contract: Mapping[str, Any]) -> set[str]:
    names: set[str] = set()
    for item in contract.get("capabilities") or []:
        names.update(item if isinstance(item, Mapping) else [item])
    return names


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
    JSON raises OutputError. ``timeout`` (seconds) sets the context's deadline
    and is not enforced.
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
    broker = broker or FakeBroker()
    broker.bind(document, reason)
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
    result = await _execute(entry, value, Session(broker, context))
    return json.loads(encode_output(result))


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
