"""What a contract lets a controller do, judged target by target as the runtime does.

There is no policy here: every declared capability is allowed, as under the
development policy. A capability without a list may touch everything of its
kind; one with a list touches that list and nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from magic._errors import MagicError
from magic.testing._host import HostProblem, Pattern
from magic.testing._refusal import misuse, refused, shortened

__all__ = ["Allowance", "Grant", "is_identifier"]

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

#: The list's key, the noun of its entries, and a line to copy.
_CAPABILITIES: dict[str, tuple[str | None, str, str]] = {
    "db:read": ("tables", "table", "- db:read: { tables: [customers] }"),
    "db:write": ("tables", "table", "- db:write: { tables: [customers], max_rows: 100 }"),
    "db:rawsql": (None, "", "- db:rawsql"),
    "http:egress": ("allow", "host", "- http:egress: { allow: [api.example.org], methods: [GET] }"),
    "secrets:read": ("keys", "secret", "- secrets:read: { keys: [API_KEY] }"),
    "queue:publish": ("queues", "queue", "- queue:publish: { queues: [invoices] }"),
    "queue:subscribe": ("queues", "queue", "- queue:subscribe: { queues: [invoices] }"),
    "cache:read": ("keys", "cache key", '- cache:read: { keys: ["rates:*"] }'),
    "cache:write": ("keys", "cache key", '- cache:write: { keys: ["rates:*"] }'),
    "fs:temp": (None, "", "- fs:temp: { size: 16Mi }"),
}

_OPTIONS = {"db:write": {"max_rows"}, "http:egress": {"methods"}, "secrets:read": {"only_for"}, "fs:temp": {"size"}}


def is_identifier(text: str, longest: int) -> bool:
    """Letters, digits and underscores of ASCII, not beginning with a digit."""
    return len(text) <= longest and re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", text) is not None


class Allowance:
    """One declared capability."""

    def __init__(self, kind: str, options: Mapping[str, Any]) -> None:
        self.kind = kind
        self.options = dict(options)
        self.list_key, self.noun, _ = _CAPABILITIES[kind]
        self.listed: list[str] | None = None
        if self.list_key is not None and self.list_key in options:
            self.listed = [str(entry) for entry in options[self.list_key]]
        self.hosts = [Pattern(entry) for entry in self.listed or []] if kind == "http:egress" else []
        self.only_for = [Pattern(str(entry)) for entry in options.get("only_for") or []]

    @property
    def is_bare(self) -> bool:
        """Whether the capability was declared without a list."""
        return self.listed is None

    def check(self, target: str) -> None:
        """Judges a table, secret, queue or cache key; hosts have ports and are judged by ``check_host``."""
        if self.listed is None or any(self._covers(entry, target) for entry in self.listed):
            return
        raise self.not_listed(target)

    def check_host(self, host: str, port: int, place: str) -> None:
        """Judges a host and port."""
        if self.listed is not None and not any(pattern.covers(host, port) for pattern in self.hosts):
            raise self.not_listed(place)

    def check_method(self, method: str) -> None:
        """Judges the method of an HTTP request."""
        if method not in _METHODS:
            raise misuse(f"the method must be one of {', '.join(_METHODS)}")
        methods = self.options.get("methods")
        if methods is None or method in methods:
            return
        line = self.line(methods=[*methods, method])
        raise refused(
            "E2003",
            f"the contract's `http:egress` does not list the method {method}; write: {line}",
            capability=self.kind,
            layer="contract",
            method=method,
            line=line,
        )

    def _covers(self, entry: str, target: str) -> bool:
        if self.kind in ("cache:read", "cache:write") and entry.endswith("*"):
            return target.startswith(entry[:-1])
        return entry == target

    def not_listed(self, target: str) -> MagicError:
        """The refusal of a target that the contract does not list."""
        assert self.list_key is not None
        assert self.listed is not None
        line = self.line(**{self.list_key: [*self.listed, target]})
        return refused(
            "E2003",
            f"the contract's `{self.kind}` does not list the {self.noun} `{shortened(target)}`; write: {line}",
            capability=self.kind,
            layer="contract",
            target=shortened(target),
            listed=self.listed,
            line=line,
        )

    def line(self, **changes: object) -> str:
        """The contract's line for this capability with some options changed."""
        options = {**self.options, **changes}
        written = ", ".join(f"{name}: {_written(value)}" for name, value in options.items())
        return f"- {self.kind}: {{ {written} }}"


def _written(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    text = str(value)
    # YAML reads a bare star as an alias and may read a colon as a mapping.
    return text if re.fullmatch(r"[A-Za-z0-9_.-]+", text) else json.dumps(text)


class Grant:
    """The declared capabilities of one contract."""

    def __init__(self, contract: Mapping[str, Any]) -> None:
        self.controller = str(contract.get("name", "the controller"))
        self.effects_wait = contract.get("effects", "on_success") != "immediate"
        self.metrics = list((contract.get("observability") or {}).get("metrics") or [])
        self._allowances: dict[str, Allowance] = {}
        for item in contract.get("capabilities") or []:
            members = item.items() if isinstance(item, Mapping) else [(item, {})]
            for kind, options in members:
                self._declare(kind, options)

    def _declare(self, kind: object, options: object) -> None:
        if kind not in _CAPABILITIES:
            raise MagicError(f"the contract declares {kind!r}, which is no capability")
        assert isinstance(kind, str)
        key = _CAPABILITIES[kind][0]
        known = _OPTIONS.get(kind, set()) | ({key} if key else set())
        if not isinstance(options, Mapping) or not known.issuperset(options):
            raise MagicError(f"the contract's `{kind}` has options other than {', '.join(sorted(known)) or 'none'}")
        if options and key is not None and key not in options and "max_rows" not in options:
            raise MagicError(f"the contract's `{kind}` has options but no `{key}`")
        for name in (key, "only_for", "methods"):
            # Nothing, in any spelling, never means everything.
            if name in options and (not isinstance(options[name], list) or not options[name]):
                raise MagicError(f"the contract's `{kind}` has an empty `{name}`: list something, or leave the capability out")
        if kind == "http:egress" and not set(options.get("methods", ())) <= set(_METHODS):
            raise MagicError(f"the contract's `methods` are some of {', '.join(_METHODS)}")
        try:
            self._allowances[kind] = Allowance(kind, options)
        except HostProblem as problem:
            raise MagicError(f"the contract's `{kind}` lists what is not a host: {problem}") from None

    def check(self, kind: str) -> Allowance:
        """The capability that a call needs; E2001 if the contract does not declare it."""
        allowance = self._allowances.get(kind)
        if allowance is not None:
            return allowance
        line = _CAPABILITIES[kind][2]
        raise refused(
            "E2001",
            f"{self.controller} does not declare `{kind}`; add under `capabilities:` of its contract: {line}",
            capability=kind,
            layer="contract",
            line=line,
        )

    def check_metric(self, name: object) -> None:
        """Metrics are declared by name, under ``observability``."""
        if name not in self.metrics:
            line = f"observability: {{ metrics: [{name}] }}"
            message = f"{self.controller} does not declare the metric; write in its contract: {line}"
            raise refused("E2001", message, capability="metrics", layer="contract", line=line)

    def declared(self, kind: str) -> Allowance | None:
        """The capability, if the contract declares it."""
        return self._allowances.get(kind)
