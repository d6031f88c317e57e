"""Secrets of one run, and the handles that stand for those bound to hosts."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from magic.testing._grant import Allowance, is_identifier
from magic.testing._host import Pattern, Target
from magic.testing._refusal import misuse, outside, refused, shortened

__all__ = ["Secrets"]


@dataclass
class _Bound:
    key: str
    value: str
    only_for: list[Pattern]
    allowance: Allowance


class Secrets:
    """What ``secrets.get`` answers, and what becomes of handles in headers."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._handles: dict[str, _Bound] = {}

    def check(self, key: object, allowance: Allowance) -> None:
        """Judges a key, before anybody looks whether there is such a secret."""
        if not isinstance(key, str):
            raise misuse("`key` is text")
        if not is_identifier(key, 128):
            raise outside(
                f"`{shortened(key)}`: a secret name must be letters, digits and underscores", capability="secrets:read"
            )
        allowance.check(key)

    def get(self, key: str, allowance: Allowance) -> str:
        """The value, or a handle that is the same for the whole run."""
        value = self._values.get(key)
        if value is None:
            raise misuse(f"the secret `{key}` has no value here; set it with: magic secrets set {key}")
        if not allowance.only_for:
            return value
        for handle, bound in self._handles.items():
            if bound.key == key:
                return handle
        handle = f"magic_secret_{secrets.token_hex(16)}"
        self._handles[handle] = _Bound(key, value, allowance.only_for, allowance)
        return handle

    def expand(self, text: str, target: Target) -> str:
        """A header's text with the handles of this run exchanged for what they stand for."""
        scheme, _, credentials = text.strip().partition(" ")
        if scheme.lower() == "basic":
            # Credentials of Basic hide a handle from plain sight (RFC 7617).
            try:
                decoded = base64.b64decode(credentials, validate=True).decode()
            except ValueError:
                return text
            expanded = self._exchange(decoded, target)
            return text if expanded == decoded else f"{scheme} {base64.b64encode(expanded.encode()).decode()}"
        return self._exchange(text, target)

    def mask(self, text: str) -> str:
        """What a server sent back, without the values of bound secrets."""
        for bound in self._handles.values():
            text = text.replace(bound.value, f"[secret {bound.key}]")
        return text

    def _exchange(self, text: str, target: Target) -> str:
        for handle, bound in self._handles.items():
            if handle in text:
                _check(bound, target)
                text = text.replace(handle, bound.value)
        return text


def _check(bound: _Bound, target: Target) -> None:
    facts: dict[str, object] = {"capability": "secrets:read", "layer": "contract", "rule": "only_for", "key": bound.key}
    if not any(pattern.covers(target.host, target.port) for pattern in bound.only_for):
        line = bound.allowance.line(only_for=[*bound.allowance.options["only_for"], target.place])
        raise refused(
            "E2003",
            f"the contract binds the secret `{bound.key}` to other hosts than `{target.place}`; write: {line}",
            target=target.place,
            line=line,
            **facts,
        )
    if not target.is_tls:
        raise refused(
            "E2003",
            f"the secret `{bound.key}` is bound by `only_for` and sent over https only",
            target=target.place,
            **facts,
        )
