"""An outside client: throws arbitrary requests at every route of the table and holds the server to what it promises.

Usage: outside.py URL KEY SEED REQUESTS
"""

import http.client
import io
import json
import random
import sys
import tarfile
from urllib.parse import urlsplit

# What a route of the table may answer with a status of its own: codes by status.
CODES = {
    400: {"E1001", "E1002", "E1003", "E1004", "E1005", "E4001", "E4002", "E4003"},
    401: {"E5001", "E5002", "E5003"},
    403: {"E2001", "E2002", "E2003", "E2004", "E2005", "E5004", "E5005"},
    404: {"E4004"},
    405: {"E1004"},
    408: {"E1004"},
    411: {"E1004"},
    413: {"E1004"},
    414: {"E1004"},
    415: {"E1004"},
    417: {"E1004"},
    429: {"E3005"},
    431: {"E1004"},
    500: {"E3001", "E3002", "E3003", "E3004", "E4005"},
    503: {"E3005"},
}
# Nothing fails inside: no controller here does.
ALLOWED_5XX: set[str] = set()

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW", "get"]
NAMES = [
    "Echo",
    "echo",
    "Nobody",
    "..",
    "%2e%2e",
    "%00",
    "%ff",
    "a" * 200,
    "Echo%2F",
    "Echo;x=1",
    "%25",
    "é",
    "'",
    '"',
    "*",
    "",
]
VERSIONS = ["1.0.0", "v1.0.0", "9.9.9", "", "%00", "1.0.0'--", "x" * 300, "&version=1.0.0"]
QUERIES = ["version=", "follow=maybe&limit=", "after=", "canary=", "margin=", "reason=", "limit=", "since=", "kind=", "x="]
CONTENT = [
    "application/json",
    "application/json; charset=utf-8",
    "text/plain",
    "application/zstd",
    "",
    "application/json, x",
    "\xff",
]
# Mostly right: whoever guesses too often is told to wait, and learns nothing more.
CREDENTIALS = ["key"] * 60 + ["none", "wrong", "bearer", "both", "basic"]


def archive(draw: random.Random) -> bytes:
    """A bundle that can be deployed, or could but for a few bytes."""
    name, version = (
        draw.choice(["Echo", "Other", "x", ""]),
        draw.choice(["0.1.0", f"1.{draw.randrange(9)}.0", "1", "2.0.0-rc.1"]),
    )
    contract = f"name: {name}\nversion: {version}\ninput: {{type: object}}\noutput: {{type: object}}\n"
    code = "from magic import contract\n\n\n@contract('./contract.yaml')\nasync def handle(input, ctx):\n    return {}\n"
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as tar:
        for file, text in (("contract.yaml", contract), ("controller.py", code)):
            info = tarfile.TarInfo(file)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    packed = bytearray(out.getvalue())
    for _ in range(draw.choice([0, 0, 1, 3])):
        packed[draw.randrange(len(packed))] = draw.randrange(256)
    return bytes(packed)


def documents(draw: random.Random) -> bytes:
    """A body: JSON of the shapes that routes take, broken in one place or more; or no JSON at all."""
    word = draw.choice(["1.0.0", "promote", "return", "Echo", "", "\0", "x" * 3000, "\ud7ff", "../..", "db:read"])
    value = draw.choice([None, True, -1, 1e308, 10**30, word, [], [word] * 3, {}, {word: word}, [[[[[[]]]]]]])
    members = [
        "to",
        "reason",
        "action",
        "name",
        "roles",
        "controllers",
        "expires_in",
        "controller",
        "capability",
        "target",
        "a",
    ]
    document = {draw.choice(members): value for _ in range(draw.randrange(4))}
    text = json.dumps(document).encode()
    match draw.randrange(9):
        case 0:
            return b""
        case 1:
            return draw.randbytes(draw.randrange(400))
        case 2:
            return text[: draw.randrange(len(text) + 1)]
        case 3:
            return b"[" * draw.randrange(2000)
        case 4:
            return b'{"a": 1, "a": 2}'
        case 5:
            return b"\x28\xb5\x2f\xfd" + draw.randbytes(60)
        case _:
            return text


def request(draw: random.Random, routes: list[str], key: str) -> tuple[str, str, dict[str, str], bytes]:
    method, path = draw.choice(routes).split(" ", 1)
    if draw.random() < 0.2:
        method = draw.choice(METHODS)
    for variable in ("{controller}", "{id}"):
        path = path.replace(variable, draw.choice(NAMES))
    if draw.random() < 0.1:
        path += draw.choice(["/", "//", "/../keys", "/%2e%2e/keys", "#x", ";", "/" + "y" * 4000])
    if draw.random() < 0.4:
        pairs = [
            draw.choice(QUERIES) + draw.choice([*VERSIONS, "0", "-1", "true", "99999999999999999999"])
            for _ in range(draw.randrange(1, 4))
        ]
        path += "?" + "&".join(pairs)
    headers = {"Connection": "keep-alive"}
    if content := draw.choice(CONTENT):
        headers["Content-Type"] = content
    body = documents(draw)
    if path.startswith("/api/controllers?") or path == "/api/controllers":
        body = draw.choice([body, archive(draw)])
    match draw.choice(CREDENTIALS):
        case "wrong":
            headers["X-API-Key"] = draw.choice(["x", "mgk_0000000000000000_" + "A" * 43, "é", key + "x"])
        case "bearer":
            headers["Authorization"] = draw.choice([f"Bearer {key}", "Bearer e30.e30.", "Bearer ", "Bearer a.b.c.d"])
        case "both":
            headers["X-API-Key"] = key
            headers["Authorization"] = f"Bearer {key}"
        case "basic":
            headers["Authorization"] = "Basic eDp5"
        case "key":
            headers["X-API-Key"] = key
    if draw.random() < 0.3:
        name = draw.choice(
            [
                "X-Request-ID",
                "Idempotency-Key",
                "traceparent",
                "Accept",
                "Last-Event-ID",
                "Origin",
                "Content-Encoding",
                "Expect",
            ]
        )
        headers[name] = draw.choice(
            ["", "x", "x" * 300, "\xe9", "text/event-stream", "gzip", "100-continue", "null", "*/*;q=nan", "1" * 40]
        )
    if draw.random() < 0.01:
        headers["X-Filler"] = "z" * 200_000
    return method, path, headers, body


def judge(status: int, kind: str, body: bytes, method: str) -> str | None:
    """What is wrong with an answer; nothing, if it keeps the promises."""
    if method == "HEAD" or status < 300:
        return None if status < 500 else f"{status} without a body"
    if status in {400, 431} and not body:
        # No request yet: the reader of HTTP answers by itself what it cannot read as one.
        return None
    if not kind.startswith("application/json"):
        return f"{status} is no JSON but {kind!r}"
    try:
        error = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return f"{status} is no envelope"
    code = error.get("code")
    for member in ("category", "message", "request_id", "timestamp"):
        if not isinstance(error.get(member), str) or not error[member]:
            return f"{status} {code} has no {member}"
    if code not in CODES.get(status, set()):
        return f"{status} does not go with {code}"
    if status >= 500 and code not in ALLOWED_5XX:
        return f"{code} is our fault"
    return None


def main() -> None:
    url, key, seed, count = urlsplit(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    draw = random.Random(seed)
    assert url.hostname

    def connect() -> http.client.HTTPConnection:
        return http.client.HTTPConnection(url.hostname or "", url.port, timeout=30)

    connection = connect()
    connection.request("GET", "/there/is/no/such/route", headers={"X-API-Key": key})
    table = json.loads(connection.getresponse().read())["error"]["details"]["routes"]
    # Answers that never end are somebody else's test, and the self-test takes long.
    routes = [route for route in table if "self-test" not in route]
    seen: dict[int, int] = {}
    for number in range(count):
        method, path, headers, body = request(draw, routes, key)
        if "follow=true" in path:
            continue
        try:
            connection.putrequest(method, path.encode("ascii", "ignore").decode() or "/", skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value.encode("latin-1"))
            if body or method in {"POST", "PUT", "PATCH"}:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body or None)
            response = connection.getresponse()
            if response.headers.get("Content-Type", "").startswith("text/event-stream"):
                response.close()
                connection.close()
                connection = connect()
                continue
            status, kind, text = response.status, response.headers.get("Content-Type", ""), response.read()
        except (http.client.HTTPException, OSError, ValueError) as error:
            # Our own library refuses to send some of it, and the server may close after a refusal; it must take the next one.
            connection.close()
            connection = connect()
            if isinstance(error, TimeoutError):
                sys.exit(f"seed {seed}, request {number}: no answer to {method} {path[:200]}")
            continue
        seen[status] = seen.get(status, 0) + 1
        if wrong := judge(status, kind, text, method):
            sent = f"{method} {path[:200]} {str(headers)[:400]} {body[:200]!r}"
            sys.exit(f"seed {seed}, request {number}: {sent}: {wrong}: {text[:500]!r}")
    connection = connect()
    headers = {"X-API-Key": key, "Content-Type": "application/json"}
    connection.request("POST", "/api/execute/Echo", body="{}", headers=headers)
    answer = connection.getresponse()
    assert answer.status in {200, 404}, answer.read()
    print(json.dumps({str(status): times for status, times in sorted(seen.items())}))


main()
