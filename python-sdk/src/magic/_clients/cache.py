"""``self.cache``."""

from __future__ import annotations

from magic._clients.client import Client, converted, milliseconds, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Coroutine
    from datetime import timedelta
    from typing import Any

__all__ = ["Cache"]


class Cache(Client):
    """JSON values by key (cache:read, cache:write)."""

    __slots__ = ()

    def get(self, key: str, default: Any = None) -> Coroutine[Any, Any, Any]:
        """The value, or ``default`` if there is none; a stored None is a value."""
        answer = self._call("cache.get", key=text(key, "key"))
        return converted(answer, lambda found: found["value"] if found["hit"] else default)

    def set(self, key: str, value: object, *, ttl: float | timedelta | None = None) -> Coroutine[Any, Any, None]:
        """Stores a JSON value, for ``ttl`` (seconds or a timedelta) or until it is evicted.

        It is stored when the request has succeeded; the request itself sees it at once.
        """
        # The value may well be None, so it does not pass through _call.
        params: dict[str, object] = {"key": text(key, "key"), "value": value}
        lifetime = milliseconds(ttl, "ttl")
        if lifetime is not None:
            params["ttl_ms"] = lifetime
        return self._line.call("cache.set", params)

    def delete(self, key: str) -> Coroutine[Any, Any, None]:
        """Forgets a key."""
        return self._call("cache.delete", key=text(key, "key"))
