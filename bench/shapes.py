"""Other ways to a process per request, and this one in other situations.

``measure.py`` compares one situation (a plain controller, a filled stock) with a process that serves everybody. Here:

- a new process for each request that is executed and not forked: alone, within bubblewrap, and behind gunicorn;
- requests for which no worker waits, for which there is no template, or that a fresh interpreter serves; a deploy until its
  first answer; large bodies; controllers that import more;
- a thousand controllers that nobody asks;
- more requests than can be served, and one controller beside the burst of another.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable

from figures import (
    CORES,
    HEADERS,
    HERE,
    KEY,
    Figures,
    Spread,
    keep,
    over_http,
    serving,
    serving_peer,
    show,
    summarize,
    write_demo,
)
from measure import private_mib

BODY = b'{"message":"hello"}'
ANY = "name: {name}\nversion: {version}\ninput: {{type: object}}\noutput: {{type: object}}\nresources: {{timeout: 30s}}\n"
PLAIN = """
from magic import Controller, contract

@contract("./contract.yaml")
class {name}(Controller):
    async def execute(self, input):
        return {{"length": len(input["message"])}}
"""
#: Name, lines before the class, what its contract says beside the usual.
VARIANTS = (
    ("Plain", "", ""),
    ("Asyncio", "import asyncio\n", ""),
    ("Imports", "import datetime, decimal, re, uuid\n", ""),
    ("Pristine", "", "isolation: pristine\n"),
    ("OneCall", "", "capabilities:\n  - cache:read\n"),
)
COLD = 12
IDLE = 1000
PAYLOADS = {"1 KiB": 1 << 10, "64 KiB": 64 << 10, "1 MiB": 1 << 20, "4 MiB": 4 << 20}
#: More connections than one controller may have running and waiting.
FLOOD = 544
BURST = 64


def write(folder: pathlib.Path, name: str, head: str = "", contract: str = "", version: str = "1.0.0") -> pathlib.Path:
    own = folder / name.lower()
    own.mkdir(parents=True, exist_ok=True)
    (own / "contract.yaml").write_text(ANY.format(name=name, version=version) + contract)
    code = head + PLAIN.format(name=name)
    if name == "OneCall":
        code = code.replace("        return", '        await self.cache.get("nothing")\n        return')
    (own / "controller.py").write_text(code)
    return own


class Client:
    """One connection that asks again and again."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(url.removeprefix("http://").rstrip("/"), timeout=60)

    def ask(self, controller: str, body: bytes = BODY) -> tuple[int, float]:
        """Status and milliseconds of one request."""
        started = time.perf_counter()
        self._connection.request("POST", f"/api/execute/{controller}", body, HEADERS)
        answer = self._connection.getresponse()
        answer.read()
        return answer.status, (time.perf_counter() - started) * 1000

    def answered(self, controller: str, body: bytes = BODY) -> float:
        status, taken = self.ask(controller, body)
        if status != 200:
            sys.exit(f"a request to {controller} was answered with {status}; the figures would mean nothing")
        return taken


def percentiles(taken: list[float]) -> Figures:
    ordered = sorted(taken)
    return {"p50_ms": statistics.median(ordered), "p99_ms": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]}


# Other ways.


def in_loops(one: Callable[[], float | None], loops: int, seconds: float) -> Figures:
    """Does the same again and again, in so many loops at once; what gives no time was no answer and does not count."""

    def loop(_: int) -> list[float]:
        taken = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if (milliseconds := one()) is not None:
                taken.append(milliseconds)
        return taken

    started = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(loops) as pool:
        taken = [one for own in pool.map(loop, range(loops)) for one in own]
    return {**percentiles(taken), "per_second": len(taken) / (time.monotonic() - started)}


def programs(command: list[str], loops: int, seconds: float) -> Figures:
    """Starts a program for each request."""

    def one() -> float:
        started = time.perf_counter()
        done = subprocess.run(command, input=BODY, capture_output=True, check=True)
        taken = (time.perf_counter() - started) * 1000
        if b"You said" not in done.stdout:
            sys.exit("a program gave no answer; the figures would mean nothing")
        return taken

    return in_loops(one, loops, seconds)


def bare_start(python: str, times: int) -> Figures:
    """An interpreter that does nothing, from its start to its end."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        subprocess.run([python, "-I", "-S", "-c", "pass"], check=True)
        taken.append((time.perf_counter() - started) * 1000)
    return percentiles(taken)


def gunicorn() -> contextlib.AbstractContextManager[str]:
    """A worker that ends after each request."""
    workers = ("--workers", str(2 * CORES), "--max-requests", "1")
    return serving_peer("gunicorn", "--bind=127.0.0.1:{port}", "wsgi:app", *workers, "--log-level", "critical")


def behind_gunicorn(url: str, loops: int, seconds: float) -> Figures:
    """One request per connection, as a worker that ends after it can give."""

    def one() -> float | None:
        started = time.perf_counter()
        with contextlib.suppress(OSError, http.client.HTTPException):
            Client(url).answered("DemoController")
            return (time.perf_counter() - started) * 1000
        return None

    return in_loops(one, loops, seconds)


# This way, in other situations.


def none_waits(url: str, rounds: int) -> Figures:
    """Three at once after a pause: two find a worker, and the last has to have one made."""
    taken = []
    clients = [Client(url) for _ in range(3)]
    for client in clients:
        client.answered("Plain")
    with concurrent.futures.ThreadPoolExecutor(len(clients)) as pool:
        for _ in range(rounds):
            time.sleep(0.05)
            gate = threading.Barrier(len(clients))

            def ask(client: Client, gate: threading.Barrier = gate) -> float:
                gate.wait()
                return client.answered("Plain")

            taken.append(max(pool.map(ask, clients)))
    return percentiles(taken)


def paced(url: str, controller: str, requests: int, body: bytes = BODY) -> Figures:
    client = Client(url)
    client.answered(controller, body)
    taken = []
    for _ in range(requests):
        time.sleep(0.02)
        taken.append(client.answered(controller, body))
    return percentiles(taken)


def first_answers(magic: str) -> Figures:
    """The first request of a controller after a restart: its template has to be started."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as data:
        for number in range(COLD):
            write(pathlib.Path(folder), f"Cold{number}")
        with serving(magic, pathlib.Path(folder), pathlib.Path(data)):
            pass
        with serving(magic, pathlib.Path(folder), pathlib.Path(data)) as (url, _):
            return percentiles([Client(url).answered(f"Cold{number}") for number in range(COLD)])


def deploys(magic: str, url: str, folder: pathlib.Path, times: int) -> Figures:
    """From the start of ``magic deploy`` to the first answer of the new version."""
    taken = []
    for number in range(times):
        own = write(folder, "Deployed", version=f"1.0.{number}")
        started = time.perf_counter()
        command = [magic, "deploy", "--url", url, str(own)]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "MAGIC_API_KEY": KEY})
        Client(url).answered("Deployed")
        taken.append((time.perf_counter() - started) * 1000)
    return percentiles(taken)


def flood(url: str, seconds: float) -> Figures:
    """More connections than places: what becomes of those who are let in, and of the others."""
    statuses: dict[int, list[float]] = {}
    lock = threading.Lock()
    end = time.monotonic() + seconds

    def ask(_: int) -> None:
        client = Client(url)
        own: list[tuple[int, float]] = []
        while time.monotonic() < end:
            own.append(client.ask("Plain"))
            if own[-1][0] != 200:
                time.sleep(0.2)
        with lock:
            for status, taken in own:
                statuses.setdefault(status, []).append(taken)

    with concurrent.futures.ThreadPoolExecutor(FLOOD) as pool:
        list(pool.map(ask, range(FLOOD)))
    if set(statuses) - {200, 503}:
        sys.exit(f"statuses {sorted(statuses)}; the figures would mean nothing")
    admitted, refused = statuses[200], statuses.get(503, [0.0])
    return {
        **percentiles(admitted),
        "per_second": len(admitted) / seconds,
        "refused_share": len(statuses.get(503, [])) / (len(admitted) + len(statuses.get(503, []))),
        "refused_p99_ms": percentiles(refused)["p99_ms"],
    }


def beside_a_burst(url: str, seconds: int) -> Figures:
    """A controller that is asked now and then, while another one is asked without a pause."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        burst = pool.submit(over_http, url, "DemoController", BURST, seconds)
        time.sleep(0.3)
        figures = paced(url, "Plain", 20 * seconds)
        burst.result()
    return figures


def processes(server: int) -> int:
    """The server's children: all that it has but for workers, and those have a template among them."""
    tasks = pathlib.Path(f"/proc/{server}/task")
    return sum(len((task / "children").read_text().split()) for task in tasks.iterdir())


def idle_controllers(magic: str, many_of_them: int) -> Figures:
    """A thousand deployed controllers that nobody asks, after a restart: processes, and what each costs the supervisor."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as many, tempfile.TemporaryDirectory() as data:
        write(pathlib.Path(one), "Idle0")
        with serving(magic, pathlib.Path(one)) as (_, server):
            alone = private_mib(server)
        for number in range(many_of_them):
            write(pathlib.Path(many), f"Idle{number}")
        started = time.monotonic()
        with serving(magic, pathlib.Path(many), pathlib.Path(data)):
            deployed = time.monotonic() - started
        started = time.monotonic()
        with serving(magic, pathlib.Path(many), pathlib.Path(data)) as (url, server):
            return {
                "deploy_seconds": deployed,
                "start_seconds": time.monotonic() - started,
                "processes": processes(server),
                "supervisor_mib": private_mib(server),
                "more_than_with_one_mib": private_mib(server) - alone,
                "first_answer_ms": Client(url).answered(f"Idle{many_of_them - 1}"),
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--magic", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--idle", type=int, default=IDLE, help="how many idle controllers")
    arguments = parser.parse_args()
    magic, seconds = arguments.magic, arguments.seconds
    doctor = subprocess.run([magic, "--json", "doctor"], capture_output=True, text=True)
    interpreter = json.loads(doctor.stdout)["interpreter"]
    python = interpreter["path"]
    program = [python, "-I", "-S", "-B", str(HERE / "handler.py")]
    bubblewrap = shutil.which("bwrap")
    if bubblewrap is None:
        sys.exit("bubblewrap is missing; on Debian: apt-get install bubblewrap")
    wrapped = [bubblewrap, "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", *program]

    taken: dict[str, list[Figures]] = {}

    def note(name: str, figures: Figures) -> None:
        taken.setdefault(name, []).append(figures)

    with contextlib.ExitStack() as stack:
        controllers = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        elsewhere = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_demo(controllers)
        for name, head, contract in VARIANTS:
            write(controllers, name, head, contract)
        url, _ = stack.enter_context(serving(magic, controllers))
        peer = stack.enter_context(gunicorn())
        over_http(url, "DemoController", 8, 1)
        for number in range(arguments.rounds):
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
            note("magic, 8 at once", over_http(url, "DemoController", 8, seconds))
            note(f"a program per request, {CORES} loops", programs(program, CORES, seconds))
            note(f"bubblewrap per request, {CORES} loops", programs(wrapped, CORES, seconds))
            note("gunicorn, a request per worker, 8 at once", behind_gunicorn(peer, 8, seconds))
            note("python -I -S -c pass", bare_start(python, 20))
            note("magic, first answer of a controller", first_answers(magic))
            note("magic, deploy to first answer", deploys(magic, url, elsewhere / str(number), 3))
            note("magic, no worker waits", none_waits(url, 10 * seconds))
            for name, _, _ in VARIANTS:
                note(f"magic, paced, {name}", paced(url, name, 20 * seconds))
            for label, size in PAYLOADS.items():
                body = json.dumps({"message": "x" * (size - 20)}).encode()
                note(f"magic, paced, {label}", paced(url, "Plain", 10 * seconds, body))
            note(f"magic, {FLOOD} connections", flood(url, seconds))
            note(f"magic, paced beside a burst of {BURST}", beside_a_burst(url, max(seconds, 2)))
    note(f"magic, {arguments.idle} idle controllers", idle_controllers(magic, arguments.idle))

    summary: dict[str, dict[str, Spread]] = {name: summarize(figures) for name, figures in taken.items()}
    show(summary)

    def ratio(row: str, other: str, figure: str) -> float:
        pairs = zip(taken[row], taken[other], strict=True)
        return statistics.median(one[figure] / two[figure] for one, two in pairs)

    ratios = {
        "throughput_to_bubblewrap": ratio("magic, 8 at once", f"bubblewrap per request, {CORES} loops", "per_second"),
        "throughput_to_programs": ratio("magic, 8 at once", f"a program per request, {CORES} loops", "per_second"),
        "cold_start_to_bare_start": ratio("magic, first answer of a controller", "python -I -S -c pass", "p50_ms"),
    }
    for name, value in ratios.items():
        print(f"{name} {value:.2f}")
    keep({"interpreter": interpreter, "rounds": arguments.rounds, "summary": summary, "ratios": ratios}, "-shapes")


if __name__ == "__main__":
    main()
