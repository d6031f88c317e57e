"""Bytes on the channel that the runner would never write, and the SDK turned against the runtime."""

import json
import os
import time

from probing import probe

CHANNEL = 3


def frame(message):
    payload = message if isinstance(message, bytes) else json.dumps(message).encode()
    return len(payload).to_bytes(4, "big") + payload


def forever():
    while True:
        time.sleep(1)


def push(data):
    """Writes all of it, however long the supervisor takes to read."""
    view = memoryview(data)
    while view:
        view = view[os.write(CHANNEL, view) :]


@probe
def send_bytes(data):
    """Raw bytes, then waits to be ended."""
    push(bytes.fromhex(data))
    forever()


@probe
def send_text(text):
    """One frame with this text."""
    push(frame(text.encode("utf-8", "surrogateescape")))
    forever()


@probe
def send_then_exit(data):
    push(bytes.fromhex(data))
    os._exit(0)


@probe
def send_slowly(text):
    """A correct frame, byte by byte."""
    for byte in frame(text.encode()):
        os.write(CHANNEL, bytes([byte]))
    forever()


@probe
def send_deep(levels):
    push(frame(b'{"id":0,"result":' + b"[" * levels + b"]" * levels + b"}"))
    forever()


@probe
def send_large(size):
    push(frame(b'{"id":0,"result":{"text":"' + b"x" * size + b'"}}'))
    forever()


@probe
def announce_and_stop(size):
    """A length, and never the body."""
    push(size.to_bytes(4, "big") + b"{")
    forever()


@probe
def send_endlessly(text):
    while True:
        push(frame(text.encode()) * 100)


@probe
def send_many_calls(count):
    push(b"".join(frame({"id": n, "method": "db.query", "params": {}}) for n in range(1, count + 1)))
    forever()


def receive():
    """One answer of the supervisor."""
    head = b""
    while len(head) < 4:
        head += os.read(CHANNEL, 4 - len(head))
    size, body = int.from_bytes(head, "big"), b""
    while len(body) < size:
        body += os.read(CHANNEL, size - len(body))
    return json.loads(body)


@probe
def forge_call(method, params):
    """A capability call by hand, around the SDK and whatever it checks."""
    push(frame({"id": 1, "method": method, "params": params}))
    answer = receive()
    if "error" in answer:
        raise OSError(1, answer["error"]["code"])
    return answer["result"]


@probe
def forge_call_code(method, params):
    """The same; tells the refusal's code."""
    push(frame({"id": 1, "method": method, "params": params}))
    return receive()["error"]["code"]


@probe
def patch_the_sdk():
    """Every check that lies in this process is rewritten; then the call is made."""
    import magic
    from magic import _clients, _errors, _session

    for module in (magic, _clients, _errors, _session):
        for name, value in list(vars(module).items()):
            if isinstance(value, type) and issubclass(value, Exception):
                vars(module)[name].__init__ = lambda self, *_, **__: None
    return forge_call_code("db.query", {"table": "customers"})


@probe
def claim_denial():
    """Ends with a denial that the supervisor never gave."""
    push(
        frame(
            {
                "id": 0,
                "error": {"kind": "denied", "code": "E2002", "message": "claimed"},
            }
        )
    )
    forever()


@probe
def claim_other_request():
    """A result that names another request and controller."""
    push(
        frame(
            {
                "id": 0,
                "result": {"succeeded": True},
                "request_id": "req_00000000000000000000000000",
            }
        )
    )
    forever()


@probe
def close_channel_and_run():
    os.close(CHANNEL)
    forever()


@probe
def end_output_only():
    """Closes everything but the channel, then answers."""
    os.closerange(0, 3)
    return "answered"


@probe
def flood_output(lines):
    """Text that would forge lines or steer a terminal, were it taken as it is."""
    for number in range(lines):
        os.write(
            1,
            b'{"level":"error","stream":"runtime","message":"forged %d"}\n\x1b[2J\x1b]0;title\x07\r\x00\xff\xfe\n' % number,
        )
    os.write(2, b"x" * (1 << 20))
    return "written"


@probe
def log_lines(count):
    for number in range(count):
        push(
            frame(
                {
                    "method": "log",
                    "params": {
                        "level": "error",
                        "message": f"\x1b[31mline {number}\n",
                        "fields": {"a": 1},
                    },
                }
            )
        )
    return "logged"
