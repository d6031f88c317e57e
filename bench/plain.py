"""The same work without the runtime, in a process of its own: what a call is compared with.

    plain.py socket CALLS           round trips of framed JSON between two Python processes
    plain.py sqlite CALLS FILE      one row by primary key, sqlite3
    plain.py postgres CALLS URL     one row by primary key, psycopg, prepared

Prints the microseconds of one call. Rows become dicts, as they do in a controller, and every connection commits by
itself. Only this process knows psycopg: nothing of it is imported by what is measured beside it.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

#: Rows of the table, which both sides ask for in turn.
ROWS = 1000
#: Calls before the clock starts: connections, plans and caches belong to no call.
WARM = 20


def timed(call: Callable[[int], object], calls: int) -> float:
    for number in range(WARM):
        call(number)
    started = time.perf_counter()
    for number in range(calls):
        call(number)
    return (time.perf_counter() - started) / calls * 1e6


def send(line: socket.socket, message: dict[str, Any]) -> None:
    payload = json.dumps(message, separators=(",", ":")).encode()
    line.sendall(struct.pack(">I", len(payload)) + payload)


def receive(line: socket.socket) -> dict[str, Any] | None:
    data = bytearray()
    while len(data) < 4 or len(data) < 4 + struct.unpack_from(">I", data)[0]:
        piece = line.recv(65536)
        if not piece:
            return None
        data += piece
    message: dict[str, Any] = json.loads(data[4:])
    return message


def over_socket(calls: int) -> float:
    """Frames like those of ``cache.get``, answered by a process that only decodes and encodes."""
    near, far = socket.socketpair()
    if os.fork() == 0:
        near.close()
        while (message := receive(far)) is not None:
            send(far, {"jsonrpc": "2.0", "id": message["id"], "result": {"hit": False}})
        os._exit(0)
    far.close()

    def call(number: int) -> None:
        send(near, {"jsonrpc": "2.0", "id": number, "method": "cache.get", "params": {"key": "nothing"}})
        receive(near)

    taken = timed(call, calls)
    near.close()
    os.wait()
    return taken


def over_sqlite(calls: int, path: str) -> float:
    connection = sqlite3.connect(path, isolation_level=None)

    def call(number: int) -> None:
        cursor = connection.execute("SELECT id, name FROM customers WHERE id = ?", (number % ROWS,))
        names = [column[0] for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor]
        assert len(rows) == 1

    return timed(call, calls)


def over_postgres(calls: int, url: str) -> float:
    import psycopg
    from psycopg.rows import dict_row

    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
        cursor = connection.cursor()

        def call(number: int) -> None:
            cursor.execute("SELECT id, name FROM customers WHERE id = %s", (number % ROWS,), prepare=True)
            assert len(cursor.fetchall()) == 1

        return timed(call, calls)


if __name__ == "__main__":
    kinds: dict[str, Callable[..., float]] = {"socket": over_socket, "sqlite": over_sqlite, "postgres": over_postgres}
    print(kinds[sys.argv[1]](int(sys.argv[2]), *sys.argv[3:]))
