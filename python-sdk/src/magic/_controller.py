"""The base class of controllers, and what a function controller gets instead.

Both offer the same attributes: the request's facts, the log and the clients of
the capabilities. A client is made when it is first touched, so a controller
that uses none pays for none.
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
    from magic._context import RequestContext
    from magic._log import Log
    from magic._session import Session

__all__ = ["Controller", "FunctionContext", "Services"]


class Services:
    """What one request lends its controller."""

    # Set by the runner before ``__init__`` runs, so that an author's own
    # ``__init__`` needs no call of super().
    _magic_session: Session | None = None

    @property
    def context(self) -> RequestContext:
        """The request's facts: id, deadline, caller, version."""
        return self._session().context

    @property
    def log(self) -> Log:
        """Structured log lines that carry the request's id."""
        # Asked for by nearly every request, so without the second call.
        session = self._magic_session
        return session.log if session is not None else self._session().log

    @property
    def db(self) -> Database:
        """The database, by structured calls (db:read, db:write, db:rawsql)."""
        return self._session().clients.db

    @property
    def http(self) -> Http:
        """Outbound HTTP (http:egress)."""
        return self._session().clients.http

    @property
    def secrets(self) -> Secrets:
        """Secrets by key (secrets:read)."""
        return self._session().clients.secrets

    @property
    def cache(self) -> Cache:
        """The cache (cache:read, cache:write)."""
        return self._session().clients.cache

    @property
    def queue(self) -> Queue:
        """Message queues (queue:publish, queue:subscribe)."""
        return self._session().clients.queue

    @property
    def fs(self) -> Files:
        """Temporary files (fs:temp)."""
        return self._session().clients.fs

    @property
    def metrics(self) -> Metrics:
        """The metrics that the contract names."""
        return self._session().clients.metrics

    def _session(self) -> Session:
        session = self._magic_session
        if session is None:
            raise RuntimeError(
                f"{type(self).__name__} is not serving a request: run it with `magic run`, or in a test with magic.testing.run"
            )
        return session


class Controller(Services):
    """Derive from this, add ``@contract``, and write ``execute(self, input)``, async or plain.

    ``execute`` is not declared here, so that an author's narrower types for
    the input and the result need no cast.
    """


class FunctionContext(Services):
    """The second argument of a function controller: ``async def f(input, ctx)``."""

    def __init__(self, session: Session) -> None:
        self._magic_session = session
