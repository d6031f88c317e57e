"""The DemoController's work behind gunicorn, whose workers are told to end after one request."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any


def app(environment: dict[str, Any], start: Callable[..., object]) -> Iterable[bytes]:
    given = json.loads(environment["wsgi.input"].read(int(environment["CONTENT_LENGTH"])))
    message = given["message"].strip()
    answer = json.dumps({"reply": f"You said: {message}", "length": len(message)}).encode()
    start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
    return [answer]
