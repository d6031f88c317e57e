"""HTTP answers from a table, behind the checks that a request would have to pass."""

from __future__ import annotations

import base64
import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

from magic._errors import BackendError, MagicError
from magic._output import encode_output
from magic.testing._grant import Allowance
from magic.testing._host import HostProblem, Target
from magic.testing._refusal import exhausted, misuse, outside, refused
from magic.testing._secrets import Secrets

__all__ = ["Reply", "Request", "reply_to_wire", "send"]

#: The most hops of one request.
REDIRECTS = 10

# Fields that are the runtime's to write, since they say where a request ends or goes (RFC 9110, section 7.6.1).
_OWN_FIELDS = frozenset((
    "host", "content-length", "transfer-encoding", "connection", "upgrade", "expect", "te", "trailer", "keep-alive",
    "accept-encoding",
))  # fmt: skip
# Parts of names of fields that may prove who sends them.
_CREDENTIALS = re.compile(
    "auth|cookie|api-key|apikey|api_key|access-key|token|secret|credential|password|passwd|session|signature|csrf|xsrf|-key$"
)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass
class Request:
    """A request that left: what a server would have seen."""

    method: str
    url: str
    #: Names in lower case.
    headers: dict[str, str]
    content: bytes = b""

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.content)


@dataclass
class Reply:
    """What a server answers: a status, and one of ``json``, ``text`` and ``content``."""

    status: int = 200
    json: Any = None
    text: str | None = None
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> bytes:
        """The body's bytes."""
        if self.content is not None:
            return self.content
        if self.text is not None:
            return self.text.encode()
        return b"" if self.json is None else encode_output(self.json)


def _reply_of(answer: object) -> Reply:
    if isinstance(answer, Reply):
        return answer
    if isinstance(answer, str):
        return Reply(text=answer)
    if isinstance(answer, bytes):
        return Reply(content=answer)
    return Reply(json=answer)


def reply_to_wire(answer: object, url: str, *, method: str = "GET", redirects: int = 0, mask: Secrets | None = None) -> Any:
    """An answer as the supervisor hands it back."""
    reply = _reply_of(answer)
    headers = {name.lower(): value for name, value in reply.headers.items()}
    if reply.json is not None:
        headers.setdefault("content-type", "application/json")
    content = b"" if method == "HEAD" else reply.body()
    body: dict[str, str]
    try:
        text = content.decode()
        body = {"body": text if mask is None else mask.mask(text)}
    except UnicodeDecodeError:
        body = {"body_base64": base64.b64encode(content).decode("ascii")}
    fields = [[name, value if mask is None else mask.mask(value)] for name, value in headers.items()]
    return {"status": reply.status, "url": url, "headers": fields, "redirects": redirects, **body}


def check(params: Mapping[str, Any], allowance: Allowance) -> tuple[Target, list[tuple[str, str]]]:
    """Where a request goes and its header fields, if the contract allows them."""
    target = _target(params["url"], allowance)
    method = params["method"]
    if not isinstance(method, str):
        raise misuse("`method` is text")
    _check_target(target, method, allowance)
    fields: list[tuple[str, str]] = []
    for name, value in params.get("headers") or []:
        if not _TOKEN.fullmatch(name):
            raise misuse(f"`{name[:100]!r}` is not the name of a header field")
        if name.lower() in _OWN_FIELDS or name.lower().startswith("proxy-"):
            raise misuse(f"the header field `{name}` is written by the runtime; leave it out")
        if any(letter in value for letter in "\r\n\0"):
            raise misuse(f"the header field `{name}` holds a line break or a null character")
        fields.append((name, value))
    return target, fields


def _target(url: object, allowance: Allowance) -> Target:
    if not isinstance(url, str):
        raise misuse("`url` is text")
    try:
        return Target(url)
    except HostProblem as problem:
        raise outside(str(problem), capability=allowance.kind, rule="canonical_url") from None


def _check_target(target: Target, method: str, allowance: Allowance) -> None:
    allowance.check_host(target.host, target.port, target.place)
    allowance.check_method(method)
    covering = [pattern for pattern in allowance.hosts if pattern.covers(target.host, target.port)]
    if not target.is_tls and not any(pattern.names_port for pattern in covering):
        raise _to_be_listed("plain http goes only to a host that the contract lists with its port", target, allowance)
    if target.is_address and not covering:
        raise _to_be_listed("an IP address is called only if the contract lists it", target, allowance)


def _to_be_listed(rule: str, target: Target, allowance: Allowance) -> MagicError:
    entry = target.place if target.is_tls else f"{target.host}:{target.port}"
    line = allowance.line(allow=[*(allowance.listed or []), entry])
    return refused("E2003", f"{rule}; write: {line}", capability=allowance.kind, layer="contract", target=entry, line=line)


async def send(
    params: Mapping[str, Any],
    allowance: Allowance,
    secrets: Secrets,
    answers: Mapping[str, object],
    sent: list[Request],
) -> Any:
    """Checks a request, finds its answer, and follows redirects, checking every hop."""
    target, fields = check(params, allowance)
    method: str = params["method"]
    content = params.get("body", "").encode()
    if "body_base64" in params:
        content = base64.b64decode(params["body_base64"])
    visited: set[tuple[str, str]] = set()
    bound = {name.lower() for name, value in fields if secrets.expand(value, target) != value}
    for hop in range(REDIRECTS + 1):
        headers: dict[str, str] = {}
        for name, value in fields:
            # Several fields of one name mean the same as one with commas (RFC 9110, section 5.3).
            before = [headers[name.lower()]] if name.lower() in headers else []
            headers[name.lower()] = ", ".join([*before, secrets.expand(value, target)])
        request = Request(method, target.url, headers, content)
        sent.append(request)
        answer = await _answer(request, answers)
        reply = _reply_of(answer)
        location = next((value for name, value in reply.headers.items() if name.lower() == "location"), None)
        if reply.status not in (301, 302, 303, 307, 308) or location is None or params.get("redirects") is False:
            return reply_to_wire(answer, target.url, method=method, redirects=hop, mask=secrets)
        onward = _target(urljoin(target.url, location), allowance)
        visited.add((method, target.url))
        if reply.status in (301, 302, 303) and method not in ("GET", "HEAD"):
            method, content = "GET", b""
            fields = [(name, value) for name, value in fields if not name.lower().startswith("content-")]
        if target.is_tls and not onward.is_tls:
            raise outside("the server redirects from https to plain http", capability=allowance.kind, rule="redirect_downgrade")
        if (method, onward.url) in visited:
            raise exhausted("redirects", "the server redirects in a circle")
        _check_target(onward, method, allowance)
        if onward.origin != target.origin:
            fields = [one for one in fields if one[0].lower() not in bound and not _CREDENTIALS.search(one[0].lower())]
        target = onward
    raise exhausted("redirects", f"more than {REDIRECTS} redirects; call with redirects=False to follow them yourself")


async def _answer(request: Request, answers: Mapping[str, object]) -> object:
    without_query = request.url.partition("?")[0]
    for key in (f"{request.method} {request.url}", request.url, f"{request.method} {without_query}", without_query):
        if key in answers:
            break
    else:
        place = f"{request.method} {without_query}"
        raise BackendError(f"the test has no answer for {place}: give FakeBroker(http={{{place!r}: ...}})")
    answer: Any = answers[key]
    if isinstance(answer, BaseException):
        raise answer
    if callable(answer):
        answer = answer(request)
        if inspect.isawaitable(answer):
            answer = await answer
    return answer
