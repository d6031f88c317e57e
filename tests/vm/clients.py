"""Clients of the service in the virtual machine: many at once over a restart, and hostile controllers one after the other.

clients.py load COMMAND...   asks without a pause while COMMAND runs, and fails if one request was not answered
clients.py hostile TABLE     runs every row of the table of attacks, and fails if one is answered otherwise than the table says

The key is in MAGIC_KEY.
"""

import http.client
import json
import os
import re
import subprocess
import sys
import threading

HEADERS = {"X-API-Key": os.environ["MAGIC_KEY"], "Content-Type": "application/json"}
# The processor is emulated.
PATIENCE = 900
# How many requests have to be answered before, and again after.
ENOUGH = 5


def ask(connection: http.client.HTTPConnection, controller: str, body: dict) -> tuple[int, dict, bool]:
    """One request: the status, the answer, and whether the server closes the connection."""
    connection.request("POST", f"/api/execute/{controller}", json.dumps(body), HEADERS)
    answer = connection.getresponse()
    closes = answer.will_close
    return answer.status, json.loads(answer.read()), closes


def connect() -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", 8080, timeout=PATIENCE)


class Client(threading.Thread):
    """Asks until it is over; one that keeps its connection lets it go only when the server says so."""

    def __init__(self, over: threading.Event, keeps: bool) -> None:
        super().__init__()
        self.over, self.keeps = over, keeps
        self.answered = threading.Semaphore(0)
        self.count = 0
        self.failures: list[str] = []

    def run(self) -> None:
        connection = connect()
        while not self.over.is_set():
            try:
                status, body, closes = ask(connection, "Hello", {"name": "Ada"})
                if status != 200:
                    self.failures.append(f"{status}: {body}")
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                closes = True
            if closes or not self.keeps:
                connection.close()
                connection = connect()
            self.count += 1
            self.answered.release()

    def wait_for_more(self) -> None:
        for _ in range(ENOUGH):
            if not self.answered.acquire(timeout=PATIENCE):
                sys.exit("no further request was answered")


def load(command: list[str]) -> None:
    over = threading.Event()
    clients = [Client(over, keeps) for keeps in (False, False, True, True)]
    for client in clients:
        client.start()
    try:
        for client in clients:
            client.wait_for_more()
        subprocess.run(command, check=True)
        for client in clients:
            # What was counted meanwhile says nothing about the time after.
            while client.answered.acquire(blocking=False):
                pass
            client.wait_for_more()
    finally:
        over.set()
        for client in clients:
            client.join()
    failures = [failure for client in clients for failure in client.failures]
    count = sum(client.count for client in clients)
    print(f"{count} requests around `{' '.join(command)}`, {len(failures)} not answered")
    if failures:
        sys.exit("\n".join(failures[:10]))


def hostile(table: str) -> None:
    with open(table) as file:
        rows = re.findall(r'\("(\w+)", "(\w+)", (\d+), "(\w+)", "(\w+)"\)', file.read())
    if len(rows) < 20:
        sys.exit(f"{table} has only {len(rows)} rows")
    wrong = []
    for controller, kind, status, code, reason in rows:
        got, body, _ = ask(connect(), controller, {"kind": kind})
        error = body.get("error", {})
        found = (str(got), error.get("code", "none"), error.get("details", {}).get("reason", "none"))
        if found != (status, code, reason):
            wrong.append(f"{kind} on {controller}: {body}")
    print(f"{len(rows)} attacks, {len(wrong)} answered otherwise than they should be")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    if sys.argv[1] == "load":
        load(sys.argv[2:])
    else:
        hostile(sys.argv[2])
