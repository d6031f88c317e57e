"""What a capability call costs, beside the same work without the runtime.

Three questions, each answered by a ratio within one round, since a shared machine makes absolute figures worthless:

- a call that does nothing: ``cache.get`` of a missing key from the embedded cache, many times in one request, beside
  round trips of the same frames between two Python processes;
- a query: one row by primary key from SQLite and PostgreSQL, beside sqlite3 and psycopg;
- the audit: a controller with one call, whose answer waits until the record of that call is on stable storage, beside
  one without a call, whose answer waits for nothing. A call costs more than its record, so the same controller also runs
  on a server whose data folder is memory: what is left between those two is the wait for the disk.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import pathlib
import platform
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable

import backends
from figures import HERE, Figures, keep, over_http, show, spread, summarize
from plain import ROWS, WARM

CONTRACT = "name: {name}\nversion: 1.0.0\ninput: {{type: object}}\noutput: {{type: object}}\nresources: {{timeout: 5m}}\n"

LOOP = """
import time
from magic import Controller, contract

@contract("./contract.yaml")
class {name}(Controller):
    async def execute(self, input):
        for number in range({warm}):
            {call}
        started = time.perf_counter()
        for number in range(input["calls"]):
            {call}
        return {{"microseconds": (time.perf_counter() - started) / input["calls"] * 1e6}}
"""

ONCE = """
from magic import Controller, contract

@contract("./contract.yaml")
class {name}(Controller):
    async def execute(self, input):
        {call}
        return {{}}
"""

GET = 'await self.cache.get("nothing")'
QUERY = f'await self.db.query("customers", where={{"id": number % {ROWS}}})'
#: Name, code, call, and the capability that the call needs.
CONTROLLERS = (
    ("CacheCalls", LOOP, GET, "cache:read"),
    ("DatabaseCalls", LOOP, QUERY, "db:read: { tables: [customers] }"),
    ("OneCall", ONCE, GET, "cache:read"),
    ("NoCall", ONCE, "pass", None),
)

CONCURRENCIES = (1, 16)


def write_controllers(folder: pathlib.Path) -> None:
    for name, code, call, capability in CONTROLLERS:
        own = folder / name.lower()
        own.mkdir(parents=True)
        needs = f"capabilities:\n  - {capability}\n" if capability else ""
        (own / "contract.yaml").write_text(CONTRACT.format(name=name) + needs)
        (own / "controller.py").write_text(code.format(name=name, call=call, warm=WARM))


def write_migrations(folder: pathlib.Path) -> None:
    folder.mkdir()
    rows = ", ".join(f"({number}, 'Customer {number}')" for number in range(ROWS))
    table = "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL);\n"
    (folder / "0001_customers.sql").write_text(f"{table}INSERT INTO customers (id, name) VALUES {rows};\n")


def in_request(url: str, controller: str, calls: int) -> Figures:
    """One request that makes many calls, and times them itself."""
    body = json.dumps({"calls": calls}).encode()
    request = urllib.request.Request(f"{url}/api/execute/{controller}", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return {"us_per_call": json.load(answer)["result"]["microseconds"]}


def in_plain(kind: str, calls: int, *arguments: str) -> Figures:
    command = [sys.executable, str(HERE / "plain.py"), kind, str(calls), *arguments]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return {"us_per_call": float(output)}


def ratio(figure: str, row: str, base: str, taken: dict[str, list[Figures]]) -> tuple[float, float, float]:
    """The spread of one row over another, divided within each round."""
    pairs = zip(taken[row], taken[base], strict=True)
    return spread([above[figure] / below[figure] for above, below in pairs])


def measure(rows: dict[str, Callable[[], Figures]], rounds: int) -> dict[str, list[Figures]]:
    taken: dict[str, list[Figures]] = {name: [] for name in rows}
    # The first round warms up every row and counts for none.
    for number in range(rounds + 1):
        print(f"round {number} of {rounds}" if number else "warming up", file=sys.stderr)
        for name, row in rows.items():
            figures = row()
            if number:
                taken[name].append(figures)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--magic", required=True, help="the program to measure")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of load, for each row over HTTP")
    parser.add_argument("--calls", type=int, default=5000, help="in one request")
    parser.add_argument("--scratch", default="/var/tmp", help="a folder on a disk, for the data folders")
    arguments = parser.parse_args()
    if arguments.calls + WARM > 10_000:
        sys.exit("a request may make 10000 calls in all, so ask for fewer with --calls")
    disk = backends.file_system(pathlib.Path(arguments.scratch))
    if disk == "tmpfs":
        sys.exit(f"{arguments.scratch} is memory, which makes syncing free; name a folder on a disk with --scratch")
    # Both sides run with one interpreter: this one, without its virtual environment.
    interpreter = str(pathlib.Path(sys.executable).resolve())
    program = [str(pathlib.Path(arguments.magic).resolve()), "--python", interpreter]
    calls, seconds = arguments.calls, arguments.seconds

    with contextlib.ExitStack() as stack:
        scratch = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(dir=arguments.scratch)))
        # The server of the database is another user, and has to pass through.
        scratch.chmod(0o755)
        memory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
        controllers, migrations = scratch / "controllers", scratch / "migrations"
        write_controllers(controllers)
        write_migrations(migrations)
        folders = {name: scratch / name for name in ("server", "sqlite", "postgres")}
        for folder in folders.values():
            folder.mkdir()

        database = stack.enter_context(backends.postgres(folders["server"]))
        backends.migrate(program, folders["sqlite"], migrations)
        backends.migrate(program, folders["postgres"], migrations, DATABASE_URL=database)
        sqlite = stack.enter_context(backends.magic(program, folders["sqlite"], controllers))
        postgres = stack.enter_context(backends.magic(program, folders["postgres"], controllers, DATABASE_URL=database))
        in_memory = stack.enter_context(backends.magic(program, memory, controllers))
        file = str(folders["sqlite"] / "data/controllers.db")

        rows: dict[str, Callable[[], Figures]] = {
            "no-op call": lambda: in_request(sqlite, "CacheCalls", calls),
            "no-op, plain socket": lambda: in_plain("socket", calls),
            "SQLite query": lambda: in_request(sqlite, "DatabaseCalls", calls),
            "SQLite query, sqlite3": lambda: in_plain("sqlite", calls, file),
            "PostgreSQL query": lambda: in_request(postgres, "DatabaseCalls", calls),
            "PostgreSQL query, psycopg": lambda: in_plain("postgres", calls, database),
        }
        for many in CONCURRENCIES:
            rows[f"no call, {many} at once"] = lambda many=many: over_http(sqlite, "NoCall", many, seconds)
            rows[f"one call, {many} at once"] = lambda many=many: over_http(sqlite, "OneCall", many, seconds)
            rows[f"one call in memory, {many} at once"] = lambda many=many: over_http(in_memory, "OneCall", many, seconds)
        taken = measure(rows, arguments.rounds)

    ratios = {
        "no-op call / plain socket": ratio("us_per_call", "no-op call", "no-op, plain socket", taken),
        "SQLite query / sqlite3": ratio("us_per_call", "SQLite query", "SQLite query, sqlite3", taken),
        "PostgreSQL query / psycopg": ratio("us_per_call", "PostgreSQL query", "PostgreSQL query, psycopg", taken),
    }
    for many in CONCURRENCIES:
        for figure in ("per_second", "p50_ms", "p99_ms"):
            one = f"one call, {many} at once"
            ratios[f"{figure}, {many} at once: one call / no call"] = ratio(figure, one, f"no call, {many} at once", taken)
            other = f"one call in memory, {many} at once"
            ratios[f"{figure}, {many} at once: disk / memory"] = ratio(figure, one, other, taken)

    summary = {name: summarize(figures) for name, figures in taken.items()}
    show(summary)
    print()
    show({name: {"ratio": values} for name, values in ratios.items()})
    print(f"\n{calls} calls in a request; data folders on {disk}, and in memory where the row says so")
    kept = {
        # A program that was given need not be the one of this commit, so its bytes say which it was.
        "program_sha256": hashlib.sha256(pathlib.Path(program[0]).read_bytes()).hexdigest(),
        "python": platform.python_version(),
        "file_system": disk,
        "calls": calls,
        "rounds": arguments.rounds,
        "seconds": seconds,
    }
    keep({**kept, "summary": summary, "ratios": ratios}, "-capabilities")


if __name__ == "__main__":
    main()
