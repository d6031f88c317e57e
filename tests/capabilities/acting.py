"""Does what its input says, through the SDK or in raw frames, and tells what came of each step."""

import asyncio
import ctypes
import json
import os
import pathlib

from magic import CapabilityDenied, Controller, MagicError, contract

CHANNEL = 3


def plain(value):
    """A capability's answer as JSON."""
    if value is None or isinstance(value, (bool, int, float, str, dict)):
        return value
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, pathlib.Path):
        return str(value)
    if hasattr(value, "status"):
        return {"status": value.status, "text": value.text}
    return {"id": value.id, "body": value.body}


async def call(controller, step):
    client = controller
    for name in step["call"].split("."):
        client = getattr(client, name)
    return plain(await client(*step.get("args", []), **step.get("named", {})))


async def told(controller, step):
    """What came of one step, its errors caught."""
    try:
        return {"value": await call(controller, step)}
    except CapabilityDenied as denied:
        return {"code": denied.code, "layer": denied.layer, "rule": denied.rule, "line": denied.line, "said": str(denied)}
    except MagicError as error:
        return {"code": error.code, "kind": type(error).__name__, "said": str(error)}


def push(data):
    view = memoryview(data)
    while view:
        view = view[os.write(CHANNEL, view) :]


def frame(message):
    payload = message if isinstance(message, bytes) else json.dumps(message).encode()
    return len(payload).to_bytes(4, "big") + payload


def receive():
    def exactly(size):
        data = b""
        while len(data) < size:
            piece = os.read(CHANNEL, size - len(data))
            if not piece:
                os._exit(9)
            data += piece
        return data

    return json.loads(exactly(int.from_bytes(exactly(4), "big")))


def raw(order):
    """Frames that the SDK would not send, and how each of them was answered."""
    answers = []
    for message in order["frames"]:
        text = message.get("text")
        push(frame(text.encode() if text is not None else message))
        if order.get("reads", True):
            answers.append(receive())
    return answers


def nested(levels):
    """Parameters deeper than any reader goes."""
    deep = b'{"id":1,"method":"cache.get","params":{"key":' + b"[" * levels + b"]" * levels + b"}}"
    push(frame(deep))
    return [receive()]


def huge(size):
    push(frame(b'{"id":1,"method":"cache.get","params":{"key":"' + b"k" * size + b'"}}'))
    return [receive()]


def flood(order):
    """So many calls, read while they are written; how many were answered with a value, and with which codes."""
    values, codes, written = 0, {}, 0
    for begin in range(0, order["count"], 32):
        numbers = range(begin, min(begin + 32, order["count"]))
        push(b"".join(frame({"id": number + 1, "method": order["method"], "params": order["params"]}) for number in numbers))
        written += len(numbers)
        for _ in numbers:
            answer = receive()
            if "error" in answer:
                code = answer["error"]["code"]
                codes[code] = codes.get(code, 0) + 1
            else:
                values += 1
    return {"written": written, "values": values, "codes": codes}


def system_call(name):
    """A call of the kernel by its number, which differs by architecture."""
    numbers = {"init_module": {"x86_64": 175, "aarch64": 105}, "getpid": {"x86_64": 39, "aarch64": 172}}
    return ctypes.CDLL(None).syscall(numbers[name][os.uname().machine], 0, 0, 0)


@contract("./contract.yaml")
class Acting(Controller):
    async def execute(self, input):
        if "raw" in input:
            return {"answers": raw(input["raw"])}
        if "nested" in input:
            return {"answers": nested(input["nested"])}
        if "huge" in input:
            return {"answers": huge(input["huge"])}
        if "flood" in input:
            return flood(input["flood"])
        if "uncaught" in input:
            return {"value": await call(self, input["uncaught"])}
        if "together" in input:
            return {"steps": await asyncio.gather(*(told(self, step) for step in input["together"]))}
        answer = {"steps": [await told(self, step) for step in input["steps"]]}
        if "system_call" in input:
            system_call(input["system_call"])
        return answer | input.get("adds", {})
