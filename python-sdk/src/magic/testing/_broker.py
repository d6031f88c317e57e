"""The fake broker: back ends in memory behind the contract's own checks.

It stands where the supervisor stands and sees what the supervisor sees, calls
as JSON, so the clients are tested with it. One run is one request: what it
writes waits, is visible to itself, and comes into being when it has succeeded.
"""

from __future__ import annotations

import inspect
import json
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from magic._errors import BackendError, CapabilityDenied, MagicError, OutputError
from magic._output import encode_message, encode_output
from magic.testing._answers import as_answer
from magic.testing._cache import CacheSession, CacheStore
from magic.testing._database import Database, Table, check_table
from magic.testing._grant import Allowance, Grant
from magic.testing._http import Request, check, send
from magic.testing._queue import QueueSession, QueueStore
from magic.testing._refusal import exhausted, misuse, refused, shortened
from magic.testing._secrets import Secrets

__all__ = ["FakeBroker"]

#: Calls of one run.
CALLS = 10_000
#: Measurements of one run.
MEASUREMENTS = 10_000

_MEASUREMENTS = {"metrics.inc": "amount", "metrics.observe": "value"}


class _Method:
    """The capability that a call needs, and its parameters."""

    def __init__(self, capability: str, required: str, optional: str = "") -> None:
        self.capability = capability
        self.required = set(required.split())
        self.known = self.required | set(optional.split())


_METHODS = {
    "db.query": _Method("db:read", "table", "columns where order_by limit offset"),
    "db.query_one": _Method("db:read", "table", "columns where order_by"),
    "db.count": _Method("db:read", "table", "where"),
    "db.insert": _Method("db:write", "table rows", "returning"),
    "db.update": _Method("db:write", "table set where", "returning"),
    "db.delete": _Method("db:write", "table where", "returning"),
    "db.raw": _Method("db:rawsql", "sql", "params"),
    "http.request": _Method("http:egress", "method url", "headers body body_base64 timeout_ms redirects"),
    "secrets.get": _Method("secrets:read", "key"),
    "cache.get": _Method("cache:read", "key"),
    "cache.set": _Method("cache:write", "key value", "ttl_ms"),
    "cache.delete": _Method("cache:write", "key"),
    "queue.publish": _Method("queue:publish", "queue message"),
    "queue.receive": _Method("queue:subscribe", "queue", "max"),
    "queue.ack": _Method("queue:subscribe", "queue receipt"),
    "fs.temp": _Method("fs:temp", ""),
}


class _Session:
    """What belongs to one run."""

    def __init__(self, broker: FakeBroker, grant: Grant) -> None:
        self.grant = grant
        self.calls = 0
        self.measurements = 0
        self.database = Database(broker._tables, grant)
        self.secrets = Secrets(broker._secrets or {})
        self.cache = CacheSession(broker._cache, grant)
        self.queues = QueueSession(broker._queues, grant)
        self.folder: str | None = None


class FakeBroker:
    """Answers capability calls as the runtime would, and remembers calls and log lines.

    ``tables`` maps names to rows or to a ``Table``; ``http`` maps a URL, or a
    method and a URL, to the JSON of the answer, to a ``Reply``, to an exception,
    or to a function of the ``Request``; ``secrets`` and ``cache`` map keys to
    values, ``queues`` names to lists of messages.

    ``answers`` maps a call's name, for example ``"db.raw"``, to what the client
    shall return, to an exception to raise, or to a function of the call's
    parameters. It comes before everything else. A call that neither it nor one
    of the others answers is an error that says what to give.
    """

    def __init__(
        self,
        answers: Mapping[str, object] | None = None,
        *,
        tables: Mapping[str, Table | Iterable[Mapping[str, Any]]] | None = None,
        http: Mapping[str, object] | None = None,
        secrets: Mapping[str, str] | None = None,
        cache: Mapping[str, object] | None = None,
        queues: Mapping[str, Sequence[object]] | None = None,
    ) -> None:
        self.answers = dict(answers or {})
        #: Every allowed call, in order, as (name, parameters as sent).
        self.calls: list[tuple[str, dict[str, Any]]] = []
        #: Every call, also the refused ones, in order, as (name, code of the refusal or None).
        self.decisions: list[tuple[str, str | None]] = []
        #: Every log line, in order, as level, message and fields.
        self.logs: list[dict[str, Any]] = []
        #: What counters were counted up to, and every value of histograms, by their names.
        self.counters: dict[str, float] = {}
        self.observations: dict[str, list[float]] = {}
        #: Every HTTP request that left, also those of runs that failed.
        self.requests: list[Request] = []
        given = {"db": tables, "http": http, "secrets": secrets, "cache": cache, "queue": queues}
        self._provided = {name for name, value in given.items() if value is not None}
        self._first_cache = dict(cache or {})
        self._first_queues = dict(queues or {})
        self._tables = {
            name: table.copy() if isinstance(table, Table) else Table(table) for name, table in (tables or {}).items()
        }
        self._http = http
        self._secrets = secrets
        self._elapsed = 0.0
        self._cache = CacheStore(self._now)
        self._queues = QueueStore(self._now)
        self._is_seeded = False
        self._session: _Session | None = None
        self._reason = "no run has begun"

    def advance(self, seconds: float) -> None:
        """Lets time pass for what expires: cache entries, and messages that were received."""
        self._elapsed += seconds

    @property
    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """The rows of every table after the runs that succeeded."""
        return {name: [dict(row) for row in table.rows] for name, table in self._tables.items()}

    @property
    def cache(self) -> dict[str, Any]:
        """The entries of the cache after the runs that succeeded."""
        return self._cache.view()

    @property
    def queues(self) -> dict[str, list[Any]]:
        """The messages that nobody has acknowledged, after the runs that succeeded."""
        return self._queues.view()

    # One run. ``run`` calls these.

    def bind(self, contract: Mapping[str, Any] | None, reason: str) -> None:
        """Begins a run under a contract, or says why there is none."""
        self._session = None
        self._reason = reason
        if contract is None:
            return
        grant = Grant(contract)
        if not self._is_seeded:
            self._is_seeded = True
            self._cache.seed(self._first_cache, grant)
            self._queues.seed(self._first_queues, grant)
        self._session = _Session(self, grant)

    def end(self, *, succeeded: bool) -> None:
        """Ends the run; what it wrote comes into being, or is dropped."""
        session, self._session = self._session, None
        if session is None:
            return
        if session.folder is not None:
            shutil.rmtree(session.folder, ignore_errors=True)
        if succeeded:
            self._tables = session.database.tables
            session.cache.commit()
            session.queues.commit()
        else:
            session.queues.abandon()

    # The line of ``magic._session``.

    async def call(self, method: str, params: dict[str, object]) -> Any:
        """Decides and answers one call."""
        # Through JSON, so that a test sees what the supervisor would.
        try:
            sent = json.loads(encode_output(params))
        except OutputError as error:
            raise MagicError(f"the parameter {error.path} of {method} cannot be sent: {error}") from None
        session = self._session
        if session is None:
            raise MagicError(f"{method} cannot be allowed or refused, since the contract is not known: {self._reason}")
        if method.startswith("metrics.") and method not in self.answers:
            self._measure(method, sent, session)
            return None
        try:
            answer = await self._answer(method, sent, session)
        except MagicError as error:
            # A back end that fails has been allowed; a budget that is used up has not.
            self.decisions.append((method, error.code if isinstance(error, CapabilityDenied) else None))
            raise
        self.decisions.append((method, None))
        return json.loads(encode_output(answer))

    def notify(self, method: str, params: dict[str, object]) -> None:
        """Keeps a log line."""
        if method == "log":
            self.logs.append(json.loads(encode_message(params)))

    def _measure(self, method: str, sent: dict[str, Any], session: _Session) -> None:
        """Takes a measurement, which is no call of a capability. Beyond a bound it is dropped, as log lines are."""
        name, argument = sent.get("name"), _MEASUREMENTS.get(method)
        if argument is None:
            raise refused("E2001", "metrics are counted with `metrics.inc` and observed with `metrics.observe`")
        value = sent.get(argument)
        if not isinstance(name, str) or not isinstance(value, (int, float)) or isinstance(value, bool):
            raise misuse("a measurement takes the name of a metric and a number")
        if method == "metrics.inc" and value < 0:
            raise misuse("a counter only rises; its amount is not negative")
        session.grant.check_metric(name)
        session.measurements += 1
        if session.measurements > MEASUREMENTS:
            return
        if method == "metrics.inc":
            self.counters[name] = self.counters.get(name, 0) + value
        else:
            self.observations.setdefault(name, []).append(value)

    async def _answer(self, method: str, sent: dict[str, Any], session: _Session) -> Any:
        session.calls += 1
        allowance = _check(method, sent, session)
        self.calls.append((method, sent))
        if method in self.answers:
            return as_answer(method, sent, await _given(self.answers[method], sent))
        if allowance is None:
            raise _unanswered(method)
        return await self._perform(method, sent, allowance, session)

    async def _perform(self, method: str, sent: dict[str, Any], allowance: Allowance, session: _Session) -> Any:
        if method == "fs.temp":
            session.folder = session.folder or tempfile.mkdtemp(prefix="magic-")
            return {"path": session.folder}
        back_end = method.partition(".")[0]
        if method == "db.raw" or back_end not in self._provided:
            raise _unanswered(method)
        if back_end == "db":
            return session.database.perform(method, sent)
        if back_end == "secrets":
            return session.secrets.get(sent["key"], allowance)
        if back_end == "cache":
            return session.cache.perform(method, sent, allowance)
        if back_end == "queue":
            return session.queues.perform(method, sent, allowance)
        return await send(sent, allowance, session.secrets, self._http or {}, self.requests)

    def _now(self) -> float:
        return time.time() + self._elapsed


def _check(method: str, sent: dict[str, Any], session: _Session) -> Allowance | None:
    """Everything that stands between a call and its back end."""
    if method.startswith("metrics."):
        session.grant.check_metric(sent.get("name"))
        return None
    known = _METHODS.get(method)
    if known is None:
        raise refused("E2001", f"`{shortened(method)}` is not a method of any capability")
    if session.calls > CALLS:
        raise exhausted("calls", "this request has used up its capability calls")
    allowance = session.grant.check(known.capability)
    if not known.required <= sent.keys() <= known.known:
        raise misuse(f"the parameters of {method} do not fit")
    # Also of calls that the test answers itself.
    if "table" in sent:
        check_table(sent["table"], allowance)
    elif method == "http.request":
        check(sent, allowance)
    elif method == "secrets.get":
        Secrets({}).check(sent["key"], allowance)
    elif "queue" in sent:
        session.queues.key(sent["queue"], allowance)
    elif method.startswith("cache."):
        session.cache.key(sent["key"], allowance)
    return allowance


async def _given(answer: Any, sent: dict[str, Any]) -> Any:
    if isinstance(answer, BaseException):
        raise answer
    if callable(answer):
        answer = answer(sent)
        if inspect.isawaitable(answer):
            answer = await answer
    return answer


def _unanswered(method: str) -> BackendError:
    also = {"db": "tables", "queue": "queues"}.get(method.partition(".")[0], method.partition(".")[0])
    more = f", or FakeBroker({also}=...)" if method != "db.raw" and not method.startswith(("fs", "metrics")) else ""
    return BackendError(f"the test has no answer for {method}: give FakeBroker({{{method!r}: ...}}){more}")
