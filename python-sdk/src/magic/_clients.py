"""The capability clients: thin, typed names for calls that the supervisor decides.

Every method makes one call with its parameters as given and hands back what
the supervisor answered. Nothing is checked here, since a check inside the
sandbox protects nobody; a refusal arrives as CapabilityDenied.

The methods return coroutines, so that ``await``, ``asyncio.gather`` and
``TaskGroup.create_task`` all take them. A parameter left out is not sent.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence
    from typing import Any

    from magic._session import Line

    Row = Mapping[str, object]
    Answer = Coroutine[Any, Any, Any]

__all__ = ["Cache", "Clients", "Database", "Files", "Http", "Metrics", "Queue", "Secrets"]


class _Client:
    __slots__ = ("_line",)

    def __init__(self, line: Line) -> None:
        self._line = line

    def _call(self, method: str, /, **params: object) -> Answer:
        return self._line.call(method, {name: value for name, value in params.items() if value is not None})


class Database(_Client):
    """``self.db``: structured reads and writes."""

    __slots__ = ()

    def query(
        self,
        table: str,
        *,
        columns: Sequence[str] | None = None,
        where: Row | None = None,
        order_by: str | Sequence[str] | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> Answer:
        """The rows that match, as a list of dicts."""
        return self._call("db.query", table=table, columns=columns, where=where, order_by=order_by, limit=limit, offset=offset)

    def query_one(self, table: str, *, columns: Sequence[str] | None = None, where: Row | None = None) -> Answer:
        """The one row that matches, or None."""
        return self._call("db.query_one", table=table, columns=columns, where=where)

    def count(self, table: str, *, where: Row | None = None) -> Answer:
        """The number of rows that match."""
        return self._call("db.count", table=table, where=where)

    def insert(self, table: str, rows: Row | Sequence[Row], *, returning: Sequence[str] | None = None) -> Answer:
        """Adds one row or several."""
        return self._call("db.insert", table=table, rows=rows, returning=returning)

    def update(self, table: str, *, set: Row, where: Row) -> Answer:
        """Changes the rows that match."""
        return self._call("db.update", table=table, set=set, where=where)

    def delete(self, table: str, *, where: Row) -> Answer:
        """Removes the rows that match."""
        return self._call("db.delete", table=table, where=where)

    def raw(self, sql: str, params: Sequence[object] | None = None) -> Answer:
        """SQL as text (db:rawsql, which production policy denies)."""
        return self._call("db.raw", sql=sql, params=params)


class Http(_Client):
    """``self.http``: outbound requests to the hosts that the contract names."""

    __slots__ = ()

    def request(
        self,
        method: str,
        url: str,
        *,
        json: object = None,
        data: str | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """One request; ``timeout`` in seconds."""
        return self._call(
            "http.request", method=method, url=url, json=json, data=data, headers=headers, params=params, timeout=timeout
        )

    def get(self, url: str, **options: Any) -> Answer:
        """GET, options as for ``request``."""
        return self.request("GET", url, **options)

    def post(self, url: str, **options: Any) -> Answer:
        """POST, options as for ``request``."""
        return self.request("POST", url, **options)

    def put(self, url: str, **options: Any) -> Answer:
        """PUT, options as for ``request``."""
        return self.request("PUT", url, **options)

    def patch(self, url: str, **options: Any) -> Answer:
        """PATCH, options as for ``request``."""
        return self.request("PATCH", url, **options)

    def delete(self, url: str, **options: Any) -> Answer:
        """DELETE, options as for ``request``."""
        return self.request("DELETE", url, **options)

    def head(self, url: str, **options: Any) -> Answer:
        """HEAD, options as for ``request``."""
        return self.request("HEAD", url, **options)


class Secrets(_Client):
    """``self.secrets``."""

    __slots__ = ()

    def get(self, key: str) -> Answer:
        """The secret's text."""
        return self._call("secrets.get", key=key)


class Cache(_Client):
    """``self.cache``."""

    __slots__ = ()

    def get(self, key: str) -> Answer:
        """The value, or None."""
        return self._call("cache.get", key=key)

    def set(self, key: str, value: object, *, ttl: float | None = None) -> Answer:
        """Stores a JSON value; ``ttl`` in seconds."""
        # The value may well be None, so it does not pass through _call.
        params: dict[str, object] = {"key": key, "value": value}
        if ttl is not None:
            params["ttl"] = ttl
        return self._line.call("cache.set", params)

    def delete(self, key: str) -> Answer:
        """Forgets a key."""
        return self._call("cache.delete", key=key)


class Queue(_Client):
    """``self.queue``."""

    __slots__ = ()

    def publish(self, queue: str, message: object) -> Answer:
        """Sends one JSON message."""
        return self._line.call("queue.publish", {"queue": queue, "message": message})

    def receive(self, queue: str, *, max: int | None = None) -> Answer:
        """At most ``max`` waiting messages."""
        return self._call("queue.receive", queue=queue, max=max)

    def ack(self, queue: str, receipt: str) -> Answer:
        """Marks a received message as done."""
        return self._call("queue.ack", queue=queue, receipt=receipt)


class Files(_Client):
    """``self.fs``."""

    __slots__ = ()

    def temp(self) -> Answer:
        """The path of a directory of this request's own, gone after it."""
        return self._call("fs.temp")


class _Counter(_Client):
    __slots__ = ("_name",)

    def __init__(self, line: Line, name: str) -> None:
        super().__init__(line)
        self._name = name

    def inc(self, amount: float = 1) -> Answer:
        """Adds to the counter."""
        return self._call("metrics.inc", name=self._name, amount=amount)


class _Histogram(_Client):
    __slots__ = ("_name",)

    def __init__(self, line: Line, name: str) -> None:
        super().__init__(line)
        self._name = name

    def observe(self, value: float) -> Answer:
        """Adds one observation."""
        return self._call("metrics.observe", name=self._name, value=value)


class Metrics(_Client):
    """``self.metrics``: the metrics that the contract names."""

    __slots__ = ()

    def counter(self, name: str) -> _Counter:
        """A counter by its name."""
        return _Counter(self._line, name)

    def histogram(self, name: str) -> _Histogram:
        """A histogram by its name."""
        return _Histogram(self._line, name)


class Clients:
    """One of each, over one line."""

    def __init__(self, line: Line) -> None:
        self.db = Database(line)
        self.http = Http(line)
        self.secrets = Secrets(line)
        self.cache = Cache(line)
        self.queue = Queue(line)
        self.fs = Files(line)
        self.metrics = Metrics(line)
