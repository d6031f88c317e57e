"""One controller with every way of not answering as it should."""

import asyncio
import ctypes
import os
import sys

from magic import Controller, ControllerError, contract


def forever():
    while True:
        pass


def fork_bomb():
    while True:
        try:
            os.fork()
        except OSError:
            pass


def allocate():
    kept = []
    while True:
        kept.append(bytearray(1 << 20))


def allocate_at_once():
    return bytearray(1 << 45)


def crash():
    ctypes.string_at(0)


def deep():
    sys.setrecursionlimit(10**9)

    def recurse(level):
        return recurse(level + 1) + 1

    return recurse(0)


def forbidden_call():
    # Loading a module into the kernel: the number differs by architecture.
    ctypes.CDLL(None).syscall({"x86_64": 175, "aarch64": 105}[os.uname().machine], 0, 0, 0)


def garbage():
    os.write(3, b"\xff" * 64)
    forever()


def no_frame():
    os.write(3, b"\x00\x00\x00\x02[]")
    forever()


def answer_twice():
    frame = b'{"id":0,"result":{"first":true}}'
    os.write(3, len(frame).to_bytes(4, "big") + frame)
    return {"second": True}


def close_channel():
    os.close(3)
    forever()


def flood(size):
    chunk = b"x" * 65535 + b"\n"
    for _ in range(size // len(chunk)):
        os.write(1, chunk)
    return {"printed": size}


def daemon():
    """A child of a child that goes on, its parent gone."""
    if os.fork() == 0:
        if os.fork() == 0:
            forever()
        os._exit(0)
    os.wait()
    return {}


def threads():
    import threading

    for _ in range(4):
        threading.Thread(target=forever).start()
    return {}


def structured():
    raise ControllerError("no such customer", code="CUSTOMER_UNKNOWN", details={"id": 7})


KINDS = {
    "answer": lambda: {"ok": True},
    "loop": forever,
    "fork_bomb": fork_bomb,
    "allocate": allocate,
    "allocate_at_once": allocate_at_once,
    "raise": lambda: 1 / 0,
    "structured": structured,
    "exit": lambda: sys.exit(3),
    "hard_exit": lambda: os._exit(4),
    "crash": crash,
    "abort": os.abort,
    "deep": deep,
    "forbidden_call": forbidden_call,
    "garbage": garbage,
    "no_frame": no_frame,
    "answer_twice": answer_twice,
    "close_channel": close_channel,
    "wrong_output": lambda: {"unexpected": 1},
    "not_json": lambda: {"when": object()},
    "nothing": lambda: None,
    "flood": lambda: flood(8 << 20),
    "gigabyte": lambda: flood(1 << 30),
    "daemon": daemon,
    "threads": threads,
}


@contract("./contract.yaml")
class Attack(Controller):
    async def execute(self, input: dict) -> dict:
        result = KINDS[input["kind"]]()
        if asyncio.iscoroutine(result):
            result = await result
        return result
