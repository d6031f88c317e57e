"""The capability clients: typed names for calls that the supervisor decides.

A client turns Python values into the JSON of one call and the answer back into
Python values. It tells apart what can be told inside the process, a wrong type
or a misspelled operator, since a TypeError at the author's own line says more
than an answer from outside. It refuses nothing that is a question of rights: a
check inside the sandbox protects nobody.

The methods are plain functions that return coroutines, so that a mistake is
raised where the call stands, and ``await``, ``asyncio.gather`` and
``TaskGroup.create_task`` all take what comes back. A parameter left out is not
sent.

Each client is a module that is imported when it is first touched, or in the
template when the controller's source names it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from magic._clients.cache import Cache
    from magic._clients.database import Database
    from magic._clients.files import Files
    from magic._clients.http import Http
    from magic._clients.metrics import Metrics
    from magic._clients.queue import Queue
    from magic._clients.secrets import Secrets
    from magic._session import Line

__all__ = ["Clients", "prepare"]


class Clients:
    """One of each, over one line, made when it is first touched."""

    __slots__ = ("_cache", "_db", "_fs", "_http", "_line", "_metrics", "_queue", "_secrets")

    def __init__(self, line: Line) -> None:
        self._line = line
        self._db: Database | None = None
        self._http: Http | None = None
        self._secrets: Secrets | None = None
        self._cache: Cache | None = None
        self._queue: Queue | None = None
        self._fs: Files | None = None
        self._metrics: Metrics | None = None

    @property
    def db(self) -> Database:
        """The database."""
        if self._db is None:
            from magic._clients.database import Database

            self._db = Database(self._line)
        return self._db

    @property
    def http(self) -> Http:
        """Outbound HTTP."""
        if self._http is None:
            from magic._clients.http import Http

            self._http = Http(self._line)
        return self._http

    @property
    def secrets(self) -> Secrets:
        """Secrets by key."""
        if self._secrets is None:
            from magic._clients.secrets import Secrets

            self._secrets = Secrets(self._line)
        return self._secrets

    @property
    def cache(self) -> Cache:
        """The cache."""
        if self._cache is None:
            from magic._clients.cache import Cache

            self._cache = Cache(self._line)
        return self._cache

    @property
    def queue(self) -> Queue:
        """Message queues."""
        if self._queue is None:
            from magic._clients.queue import Queue

            self._queue = Queue(self._line)
        return self._queue

    @property
    def fs(self) -> Files:
        """Temporary files."""
        if self._fs is None:
            from magic._clients.files import Files

            self._fs = Files(self._line)
        return self._fs

    @property
    def metrics(self) -> Metrics:
        """The metrics that the contract names."""
        if self._metrics is None:
            from magic._clients.metrics import Metrics

            self._metrics = Metrics(self._line)
        return self._metrics


def prepare(source: bytes) -> None:
    """Imports, in the template, the clients that a controller's source seems to use.

    A guess that is wrong costs a worker one import, or a template some memory.
    """
    if b".db" in source:
        # Numbers and points in time are what most tables hold.
        import datetime  # noqa: F401
        import decimal  # noqa: F401

        import magic._clients.database
    if b".http" in source:
        import magic._clients.http
    if b".secrets" in source:
        import magic._clients.secrets
    if b".cache" in source:
        import magic._clients.cache
    if b".queue" in source:
        import magic._clients.queue
    if b".fs" in source:
        import pathlib  # noqa: F401

        import magic._clients.files
    if b".metrics" in source:
        import magic._clients.metrics  # noqa: F401
