"""``self.secrets``."""

from __future__ import annotations

from magic._clients.client import Client, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

__all__ = ["Secrets"]


class Secrets(Client):
    """Secrets by key (secrets:read)."""

    __slots__ = ()

    def get(self, key: str) -> Coroutine[Any, Any, str]:
        """The secret's text.

        Where the contract says ``only_for``, it is a handle instead, which may
        stand anywhere in a header of a request: f"Bearer {handle}". The secret
        takes its place on the way out, for the named hosts alone.
        """
        return self._call("secrets.get", key=text(key, "key"))
