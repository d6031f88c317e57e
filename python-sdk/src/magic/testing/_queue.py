"""Queues in memory: at least once, with redelivery and dead letters, and effects that wait.

A received message is invisible for a while and comes again unless it was
acknowledged; acknowledgements and publishes count when the run has succeeded.
"""

from __future__ import annotations

import datetime
import itertools
import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from magic._output import encode_output
from magic.testing._grant import Allowance, Grant
from magic.testing._refusal import misuse, outside, shortened

__all__ = ["QueueSession", "QueueStore"]

#: Seconds for which a received message is invisible to others.
VISIBILITY = 30.0
#: Deliveries after which a message is put aside.
ATTEMPTS = 5
#: The longest message, in bytes of JSON.
BODY_LIMIT = 256 * 1024
#: The most messages of one call.
MOST = 100


@dataclass
class _Message:
    id: str
    text: bytes
    published: float
    attempt: int = 0
    visible: float = 0.0
    receipt: str = ""


class QueueStore:
    """The queues between runs, by full key."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.messages: dict[str, list[_Message]] = {}
        self.now = now
        self._numbers = itertools.count(1)

    def make(self, text: bytes) -> _Message:
        """A new message."""
        return _Message(f"msg_{next(self._numbers):026d}", text, self.now())

    def add(self, key: str, message: _Message) -> None:
        """Puts a message at the end of a queue."""
        self.messages.setdefault(key, []).append(message)

    def receive(self, key: str, most: int) -> list[_Message]:
        """Hands out waiting messages; one that was handed out too often goes to the dead letters."""
        taken: list[_Message] = []
        for message in list(self.messages.get(key, ())):
            if len(taken) == most:
                break
            if message.visible > self.now():
                continue
            if message.attempt >= ATTEMPTS:
                self.messages[key].remove(message)
                self.add(f"{key}.dead", message)
                continue
            deliver(message, self.now() + VISIBILITY)
            taken.append(message)
        return taken

    def ack(self, key: str, receipt: str) -> None:
        """Removes the message of a receipt; of none, nothing."""
        self.messages[key] = [message for message in self.messages.get(key, ()) if message.receipt != receipt]

    def seed(self, bodies: Mapping[str, Sequence[object]], grant: Grant) -> None:
        """Publishes what a test begins with, where the contract will look for it."""
        declared = [one for kind in ("queue:subscribe", "queue:publish") if (one := grant.declared(kind))]
        space = _space(grant, declared[0]) if declared else "s/"
        for name, messages in bodies.items():
            self.messages.setdefault(space + name, [])
            for body in messages:
                self.add(space + name, self.make(encode_output(body)))

    def view(self) -> dict[str, list[Any]]:
        """Names, as contracts name them, and the messages that nobody has acknowledged."""
        return {
            key.rpartition("/")[2]: [json.loads(message.text) for message in messages]
            for key, messages in self.messages.items()
        }


def deliver(message: _Message, visible: float) -> None:
    """Counts a delivery and makes its receipt."""
    message.attempt += 1
    message.visible = visible
    message.receipt = secrets.token_urlsafe(16)


def _space(grant: Grant, allowance: Allowance) -> str:
    """A capability without queues means the controller's own, one with queues shared ones."""
    return f"c/{grant.controller}/" if allowance.is_bare else "s/"


class QueueSession:
    """The queues as one run sees them."""

    def __init__(self, store: QueueStore, grant: Grant) -> None:
        self._store = store
        self._grant = grant
        self._held: list[tuple[str, _Message]] = []
        self._received: list[_Message] = []
        self._acked: list[tuple[str, str]] = []

    def perform(self, method: str, params: Mapping[str, Any], allowance: Allowance) -> Any:
        """Answers one call."""
        key = self.key(params["queue"], allowance)
        if method == "queue.publish":
            return {"id": self._publish(key, params["message"])}
        if method == "queue.receive":
            most = params.get("max", 1)
            if not isinstance(most, int) or not 1 <= most <= MOST:
                raise misuse(f"`max` is a number from 1 to {MOST}")
            return {"messages": [self._shown(message) for message in self._receive(key, most)]}
        if not isinstance(params["receipt"], str):
            raise misuse("`receipt` is text")
        self._ack(key, params["receipt"])
        return None

    def key(self, name: object, allowance: Allowance) -> str:
        """The full key of a queue, if the contract allows it."""
        if not isinstance(name, str):
            raise misuse("`queue` is text")
        if not re.fullmatch("[a-z0-9][a-z0-9._-]{0,63}", name):
            raise outside(
                f"`{shortened(name)}` is not the name of a queue: lower-case letters, digits, dots, hyphens, underscores",
                capability=allowance.kind,
            )
        allowance.check(name)
        return _space(self._grant, allowance) + name

    def _publish(self, key: str, body: object) -> str:
        text = encode_output(body)
        if len(text) > BODY_LIMIT:
            raise misuse(f"a message has at most {BODY_LIMIT} bytes as JSON")
        message = self._store.make(text)
        if self._grant.effects_wait:
            self._held.append((key, message))
        else:
            self._store.add(key, message)
        return message.id

    def _receive(self, key: str, most: int) -> list[_Message]:
        taken = self._store.receive(key, most)
        self._received += taken
        # What the run has published itself is there for it too.
        for held, message in self._held:
            if held == key and len(taken) < most and message.attempt == 0:
                deliver(message, 0.0)
                taken.append(message)
        return taken

    def _ack(self, key: str, receipt: str) -> None:
        self._held = [one for one in self._held if (one[0], one[1].receipt) != (key, receipt)]
        if self._grant.effects_wait:
            self._acked.append((key, receipt))
        else:
            self._store.ack(key, receipt)

    def _shown(self, message: _Message) -> dict[str, Any]:
        published = datetime.datetime.fromtimestamp(message.published, datetime.UTC)
        return {
            "id": message.id,
            "receipt": message.receipt,
            "message": json.loads(message.text),
            "attempt": message.attempt,
            "published_at": published.isoformat(),
        }

    def commit(self) -> None:
        """Sends what was held and removes what was acknowledged."""
        for key, message in self._held:
            # Deliveries within the run were none of the queue's.
            message.attempt = 0
            self._store.add(key, message)
        for key, receipt in self._acked:
            self._store.ack(key, receipt)

    def abandon(self) -> None:
        """Gives back what was received, for others to have at once."""
        for message in self._received:
            message.visible = 0.0
