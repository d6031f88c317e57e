"""``self.http``: outbound requests to the hosts that the contract names.

The request is written out here, body and headers, so that what the supervisor
checks is what leaves. It alone resolves names, connects, verifies certificates
and follows redirects.
"""

from __future__ import annotations

from magic._clients.client import Client, converted, milliseconds, text, type_name
from magic._errors import BackendError, OutputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Mapping, Sequence
    from datetime import timedelta
    from typing import Any, TypeAlias

    Answer: TypeAlias = Coroutine[Any, Any, "Response"]
    Pairs: TypeAlias = Mapping[str, Any] | Sequence[tuple[str, Any]]

__all__ = ["Headers", "Http", "Response"]

#: Statuses after which the same request may succeed later (RFC 9110, sections 15.5.9 and 15.6; RFC 6585, section 4).
_PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))


class Headers:
    """Header fields by name, whatever the case; several of one name are joined with a comma."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Sequence[Sequence[str]]) -> None:
        self._fields: dict[str, list[str]] = {}
        for name, value in fields:
            self._fields.setdefault(name.lower(), []).append(value)

    def __getitem__(self, name: str) -> str:
        return ", ".join(self._fields[name.lower()])

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"Headers({dict(self.items())!r})"

    def get(self, name: str, default: str | None = None) -> str | None:
        """The field's text, or ``default``."""
        fields = self._fields.get(name.lower())
        return default if fields is None else ", ".join(fields)

    def get_all(self, name: str) -> list[str]:
        """The fields of that name one by one, as Set-Cookie needs it."""
        return list(self._fields.get(name.lower(), ()))

    def items(self) -> list[tuple[str, str]]:
        """Names in lower case, and texts."""
        return [(name, self[name]) for name in self._fields]

    def keys(self) -> list[str]:
        """Names in lower case."""
        return list(self._fields)


class Response:
    """What came back: ``status``, ``headers``, ``url`` (after redirects) and ``content`` (bytes)."""

    __slots__ = ("_json", "_method", "content", "headers", "status", "url")

    def __init__(self, method: str, answer: dict[str, Any]) -> None:
        self._method = method
        self.status: int = answer["status"]
        self.url: str = answer["url"]
        self.headers = Headers(answer["headers"])
        encoded = answer.get("body_base64")
        if encoded is None:
            self.content: bytes = answer.get("body", "").encode()
        else:
            from binascii import a2b_base64

            self.content = a2b_base64(encoded)

    def __repr__(self) -> str:
        return f"<Response {self.status}>"

    @property
    def status_code(self) -> int:
        """The same as ``status``, as requests and httpx call it."""
        return self.status

    @property
    def ok(self) -> bool:
        """Whether the status is below 400."""
        return self.status < 400

    @property
    def text(self) -> str:
        """The body as text, in the charset that its type names; what does not fit becomes �."""
        charset = "utf-8"
        for parameter in (self.headers.get("content-type") or "").split(";")[1:]:
            name, _, value = parameter.partition("=")
            if name.strip().lower() == "charset":
                charset = value.strip().strip('"')
        try:
            return self.content.decode(charset, "replace")
        except (LookupError, ValueError):
            return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON; raises BackendError if it is none."""
        if not hasattr(self, "_json"):
            import json

            try:
                self._json: Any = json.loads(self.content)
            except (ValueError, RecursionError):
                raise BackendError(f"{self._told()} is not JSON", details=self._details()) from None
        return self._json

    def __getitem__(self, key: str | int) -> Any:
        """A member of the JSON body: ``response["id"]``."""
        body = self.json()
        try:
            return body[key]
        except (LookupError, TypeError):
            raise KeyError(f"{self._told()} has no member {key!r:.100} in its JSON body") from None

    def raise_for_status(self) -> Response:
        """Itself if ``ok``, else BackendError with the status in its details."""
        if self.ok:
            return self
        raise BackendError(self._told(), details=self._details(), retriable=self.status in _PASSING)

    def _told(self) -> str:
        return f"the answer to {self._method} {self._address()} (status {self.status})"

    def _address(self) -> str:
        # Queries hold keys and names; errors are logged.
        return self.url.partition("?")[0].partition("#")[0][:200]

    def _details(self) -> dict[str, object]:
        return {"status": self.status, "method": self._method, "url": self._address()}


class Http(Client):
    """Outbound HTTP (http:egress)."""

    __slots__ = ()

    def request(
        self,
        method: str,
        url: str,
        *,
        json: object = None,
        data: str | bytes | Pairs | None = None,
        headers: Pairs | None = None,
        params: Pairs | None = None,
        timeout: float | timedelta | None = None,
        redirects: bool = True,
    ) -> Answer:
        """One request.

        ``json`` is any JSON value; ``data`` is text, bytes, or a form as a dict;
        ``params`` is added to the URL; ``timeout`` is seconds or a timedelta.
        """
        method = text(method, "method").upper()
        fields = [(text(name, "a name in headers"), _field(name, value)) for name, value in _pairs(headers, "headers")]
        sent: dict[str, object] = {}
        kind = None
        if json is not None and data is not None:
            raise ValueError("json and data exclude each other: a request has one body")
        if json is not None:
            kind = "application/json"
            sent["body"] = _json_text(json)
        elif isinstance(data, str):
            kind = "text/plain; charset=utf-8"
            sent["body"] = data
        elif isinstance(data, (bytes, bytearray, memoryview)):
            kind = "application/octet-stream"
            sent |= _body_of(bytes(data))
        elif data is not None:
            kind = "application/x-www-form-urlencoded"
            sent["body"] = _form(data, "data")
        if kind is not None and not any(name.lower() == "content-type" for name, _ in fields):
            fields.append(("content-type", kind))
        if not isinstance(redirects, bool):
            raise TypeError(f"redirects must be a bool, not {type_name(redirects)}")
        answer = self._call(
            "http.request",
            method=method,
            url=_with_params(text(url, "url"), params),
            headers=fields or None,
            timeout_ms=milliseconds(timeout, "timeout"),
            redirects=None if redirects else False,
            **sent,
        )
        return converted(answer, lambda found: Response(method, found))

    def get(self, url: str, **options: Any) -> Answer:
        """GET, options as for ``request``."""
        return self.request("GET", url, **options)

    def post(self, url: str, **options: Any) -> Answer:
        """POST, options as for ``request``."""
        return self.request("POST", url, **options)

    def put(self, url: str, **options: Any) -> Answer:
        """PUT, options as for ``request``."""
        return self.request("PUT", url, **options)

    def patch(self, url: str, **options: Any) -> Answer:
        """PATCH, options as for ``request``."""
        return self.request("PATCH", url, **options)

    def delete(self, url: str, **options: Any) -> Answer:
        """DELETE, options as for ``request``."""
        return self.request("DELETE", url, **options)

    def head(self, url: str, **options: Any) -> Answer:
        """HEAD, options as for ``request``."""
        return self.request("HEAD", url, **options)

    def options(self, url: str, **options: Any) -> Answer:
        """OPTIONS, options as for ``request``."""
        return self.request("OPTIONS", url, **options)


def _pairs(given: object, argument: str) -> list[tuple[Any, Any]]:
    if given is None:
        return []
    items = getattr(given, "items", None)
    pairs = list(items()) if callable(items) else given
    if not isinstance(pairs, (list, tuple)) or not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs):
        raise TypeError(f"{argument} must be a dict, or a list of pairs, not {type_name(given)}")
    return [(name, value) for name, value in pairs]


def _field(name: str, value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return int.__repr__(value)
    return text(value, f"headers[{name!r:.100}]")


def _json_text(value: object) -> str:
    from magic._output import encode_output

    try:
        return encode_output(value).decode()
    except OutputError as error:
        # The advice is written for what a controller returns.
        advice = str(error).replace("return ", "write ")
        raise TypeError(f"json cannot be sent; at {error.path or 'the top'}: {advice}") from None


def _body_of(content: bytes) -> dict[str, object]:
    try:
        return {"body": content.decode()}
    except UnicodeDecodeError:
        from binascii import b2a_base64

        return {"body_base64": b2a_base64(content, newline=False).decode("ascii")}


def _form(given: object, argument: str) -> str:
    from urllib.parse import urlencode

    written: list[tuple[str, str]] = []
    for name, value in _pairs(given, argument):
        for one in value if isinstance(value, (list, tuple)) else [value]:
            if one is None:
                continue
            if isinstance(one, bool):
                one = "true" if one else "false"
            if not isinstance(one, (str, int, float)):
                raise TypeError(f"{argument}[{name!r:.100}] must be text or a number, not {type_name(one)}: write str(value)")
            written.append((text(name, f"a name in {argument}"), str(one)))
    return urlencode(written)


def _with_params(url: str, params: object) -> str:
    query = _form(params, "params") if params is not None else ""
    if not query:
        return url
    address, mark, fragment = url.partition("#")
    joint = "" if address.endswith(("?", "&")) else "&" if "?" in address else "?"
    return f"{address}{joint}{query}{mark}{fragment}"
