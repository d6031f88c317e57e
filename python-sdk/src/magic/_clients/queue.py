"""``self.queue``."""

from __future__ import annotations

from datetime import UTC

from magic._clients.client import Client, converted, text, type_name, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Coroutine
    from datetime import datetime
    from typing import Any

__all__ = ["Message", "Queue"]


class Message:
    """A received message, which comes again unless it is acknowledged.

    ``id`` is the same at every delivery, ``attempt`` counts deliveries from 1,
    ``published_at`` is an aware datetime, ``body`` the JSON value. A message of
    a dead-letter queue tells in ``dead_letter`` why it is there: ``reason`` and
    ``attempts``.
    """

    __slots__ = ("_queue", "attempt", "body", "dead_letter", "id", "published_at", "queue", "receipt")

    def __init__(self, queue: Queue, name: str, facts: dict[str, Any]) -> None:
        self._queue = queue
        self.queue = name
        self.id: str = facts["id"]
        self.receipt: str = facts["receipt"]
        self.body: Any = facts["message"]
        self.attempt: int = facts["attempt"]
        self.published_at: datetime = _instant(facts["published_at"])
        self.dead_letter: dict[str, Any] | None = facts.get("dead_letter")

    def __repr__(self) -> str:
        return f"Message(id={self.id!r}, queue={self.queue!r}, attempt={self.attempt})"

    def ack(self) -> Coroutine[Any, Any, None]:
        """Marks the message as done, when the request has succeeded."""
        return self._queue.ack(self.queue, self)


class Queue(Client):
    """Message queues (queue:publish, queue:subscribe)."""

    __slots__ = ()

    def publish(self, queue: str, message: object) -> Coroutine[Any, Any, str]:
        """Sends one JSON message, when the request has succeeded; its id."""
        return converted(
            self._line.call("queue.publish", {"queue": text(queue, "queue"), "message": message}), lambda answer: answer["id"]
        )

    def receive(self, queue: str, max: int = 1) -> Coroutine[Any, Any, list[Message]]:
        """At most ``max`` messages that are waiting, none if none are."""
        name = text(queue, "queue")
        answer = self._call("queue.receive", queue=name, max=whole(max, "max", 1))
        return converted(answer, lambda found: [Message(self, name, facts) for facts in found["messages"]])

    def ack(self, queue: str, message: Message | str) -> Coroutine[Any, Any, None]:
        """Marks a received message, or the one of a receipt, as done."""
        receipt = message.receipt if isinstance(message, Message) else message
        if not isinstance(receipt, str):
            raise TypeError(f"message must be a Message or a receipt, not {type_name(message)}")
        return self._call("queue.ack", queue=text(queue, "queue"), receipt=receipt)


def _instant(value: object) -> datetime:
    from datetime import datetime

    if isinstance(value, str):
        instant = datetime.fromisoformat(value)
        return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
    # A number: milliseconds since the epoch.
    assert isinstance(value, (int, float))
    return datetime.fromtimestamp(value / 1000, UTC)
