"""The cache in memory, with writes that wait for the run to succeed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from magic._output import encode_output
from magic.testing._grant import Allowance, Grant
from magic.testing._refusal import misuse, shortened

__all__ = ["CacheSession", "CacheStore"]


@dataclass
class _Entry:
    text: bytes
    expires: float | None


class CacheStore:
    """What the cache holds between runs, by full key."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._entries: dict[str, _Entry] = {}
        self._now = now

    def find(self, key: str) -> _Entry | None:
        """The entry, unless it has expired."""
        entry = self._entries.get(key)
        return None if entry is None or self.is_over(entry) else entry

    def is_over(self, entry: _Entry) -> bool:
        """Whether the entry's time is up."""
        return entry.expires is not None and entry.expires <= self._now()

    def expiry(self, milliseconds: int | None) -> float | None:
        """The moment so many milliseconds from now."""
        return None if milliseconds is None else self._now() + milliseconds / 1000

    def put(self, key: str, entry: _Entry | None) -> None:
        """Stores an entry, or forgets the key."""
        if entry is None:
            self._entries.pop(key, None)
        else:
            self._entries[key] = entry

    def seed(self, values: Mapping[str, object], grant: Grant) -> None:
        """Stores what a test begins with, where the contract will look for it."""
        spaces = {_space(grant, one) for kind in ("cache:read", "cache:write") if (one := grant.declared(kind))}
        for space in spaces or {"s/"}:
            for key, value in values.items():
                self._entries[space + key] = _Entry(encode_output(value), None)

    def view(self) -> dict[str, Any]:
        """Keys, as contracts name them, and values."""
        # The last part of a full key may itself hold slashes.
        names = {key: key.split("/", 1 if key.startswith("s/") else 2)[-1] for key in self._entries}
        return {names[key]: json.loads(entry.text) for key, entry in self._entries.items() if not self.is_over(entry)}


def _space(grant: Grant, allowance: Allowance) -> str:
    """A capability without keys means the controller's own entries, one with keys shared ones."""
    return f"c/{grant.controller}/" if allowance.is_bare else "s/"


class CacheSession:
    """The cache as one run sees it."""

    def __init__(self, store: CacheStore, grant: Grant) -> None:
        self._store = store
        self._grant = grant
        self._held: dict[str, _Entry | None] = {}

    def perform(self, method: str, params: Mapping[str, Any], allowance: Allowance) -> Any:
        """Answers one call."""
        key = self.key(params["key"], allowance)
        if method == "cache.get":
            entry = self._held[key] if key in self._held else self._store.find(key)
            hit = entry is not None and not self._store.is_over(entry)
            return {"hit": hit, "value": json.loads(entry.text) if entry is not None and hit else None}
        change = None
        if method == "cache.set":
            lifetime = params.get("ttl_ms")
            if lifetime is not None and (not isinstance(lifetime, int) or lifetime < 1):
                raise misuse("`ttl_ms` is a whole number above zero")
            change = _Entry(encode_output(params["value"]), self._store.expiry(lifetime))
        if self._grant.effects_wait:
            self._held[key] = change
        else:
            self._store.put(key, change)
        return None

    def key(self, key: object, allowance: Allowance) -> str:
        """The full key, if the contract allows it."""
        if not isinstance(key, str) or not 1 <= len(key) <= 200 or not all("!" <= letter <= "~" for letter in key):
            raise misuse("a cache key is 1 to 200 printable ASCII characters without spaces")
        if "*" in key:
            raise misuse(f"the cache key `{shortened(key)}` holds a star, which only patterns do")
        allowance.check(key)
        return _space(self._grant, allowance) + key

    def commit(self) -> None:
        """Stores what was held."""
        for key, entry in self._held.items():
            self._store.put(key, entry)
