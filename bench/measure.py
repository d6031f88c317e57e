"""Runs every row in turn, several rounds, and prints medians with their spread."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

from figures import CORES, HEADERS, HERE, Figures, keep, over_http, serving, serving_peer, show, summarize, write_demo

TIMEOUT_MS = 200
CONNECTIONS = (1, 2, 8, 64)

LOOP = """
from magic import Controller, contract

@contract("./contract.yaml")
class Loop(Controller):
    def execute(self, input):
        while True:
            pass
"""
LOOP_CONTRACT = f"""
name: Loop
version: 1.0.0
input: {{type: object}}
output: {{type: object}}
resources: {{timeout: {TIMEOUT_MS}ms}}
"""


@contextlib.contextmanager
def serve(magic: str) -> Iterator[tuple[str, int]]:
    """Serves the DemoController and one that never answers; yields address and process."""
    with tempfile.TemporaryDirectory() as folder:
        controllers = pathlib.Path(folder)
        (controllers / "loop").mkdir(parents=True)
        (controllers / "loop/controller.py").write_text(LOOP)
        (controllers / "loop/contract.yaml").write_text(LOOP_CONTRACT)
        write_demo(controllers)
        with serving(magic, controllers) as served:
            yield served


def serve_peer() -> contextlib.AbstractContextManager[str]:
    """FastAPI on uvicorn."""
    return serving_peer("uvicorn", "--port={port}", "peer:app", "--log-level", "error", "--no-access-log")


def processor_ns(server: int) -> int:
    """Processor time of the server and of everything in its control groups, in nanoseconds."""
    total = 0
    for task in pathlib.Path(f"/proc/{server}/task").iterdir():
        with contextlib.suppress(OSError):
            total += int((task / "schedstat").read_text().split()[0])
    groups = list(pathlib.Path("/sys/fs/cgroup").glob(f"**/magic-runtime-*-{server}-*"))
    # Version 1 has a tree for this; in version 2 the one group of all workers tells it.
    accounts = [group / "cpuacct.usage" for group in groups if (group / "cpuacct.usage").exists()]
    if accounts:
        return total + int(accounts[0].read_text())
    return total + sum(1000 * int((group / "cpu.stat").read_text().split()[1]) for group in groups)


def with_processor_time(url: str, server: int, connections: int, seconds: int) -> Figures:
    """Load over HTTP, and what a request took of the processors, all processes together."""
    before = processor_ns(server)
    figures = over_http(url, "DemoController", connections, seconds)
    spent = processor_ns(server) - before
    return {**figures, "cpu_us_per_request": spent / 1000 / (figures["per_second"] * seconds)}


def paced(url: str, requests: int) -> Figures:
    """Requests with pauses between them, so that each finds a worker that waits."""
    connection = http.client.HTTPConnection(url.removeprefix("http://").rstrip("/"))
    taken = []
    for _ in range(requests):
        time.sleep(0.02)
        started = time.perf_counter()
        connection.request("POST", "/api/execute/DemoController", b'{"message":"hello"}', HEADERS)
        answer = connection.getresponse()
        answer.read()
        taken.append((time.perf_counter() - started) * 1000)
        if answer.status != 200:
            sys.exit("a request failed; the figures would mean nothing")
    connection.close()
    return {"p50_ms": statistics.median(taken), "p99_ms": statistics.quantiles(taken, n=100)[98]}


def forks(python: str, loops: int, seconds: float) -> dict[str, float]:
    command = [python, "-I", "-S", "-B", str(HERE / "fork_exit.py"), str(seconds)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(loops)]
    return {"per_second": sum(float(process.communicate()[0]) for process in running)}


def overshoot(url: str, requests: int) -> dict[str, float]:
    """By how much a request that must end by its deadline is late, as the caller sees it."""
    late = []
    for _ in range(requests):
        request = urllib.request.Request(f"{url}/api/execute/Loop", b"{}", HEADERS)
        started = time.monotonic()
        try:
            urllib.request.urlopen(request)
        except urllib.error.HTTPError as error:
            if json.load(error)["error"]["code"] != "E3001":
                sys.exit("an endless loop did not end at its deadline")
        late.append((time.monotonic() - started) * 1000 - TIMEOUT_MS)
        # The stock is refilled meanwhile, so that the next one waits for nothing.
        time.sleep(0.05)
    return {"overshoot_ms": statistics.median(late), "overshoot_max_ms": max(late)}


def children(pid: int) -> list[int]:
    return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def memory(server: int) -> dict[str, float]:
    """Private memory of templates (children of the server's threads) and of workers that wait."""
    templates: list[int] = []
    for task in pathlib.Path(f"/proc/{server}/task").iterdir():
        templates += [int(child) for child in (task / "children").read_text().split()]
    workers = [worker for template in templates for worker in children(template)]
    if not workers:
        sys.exit("no worker waits in the stock")
    return {
        "template_private_mib": statistics.median(map(private_mib, templates)),
        "worker_private_mib": statistics.median(map(private_mib, workers)),
    }


def private_mib(pid: int) -> float:
    lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    private = [line.split()[1] for line in lines if line.startswith(("Private_Clean", "Private_Dirty"))]
    return sum(map(int, private)) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--magic", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    arguments = parser.parse_args()
    doctor = subprocess.run([arguments.magic, "--json", "doctor"], capture_output=True, text=True)
    interpreter = json.loads(doctor.stdout)["interpreter"]
    python = interpreter["path"]
    seconds = arguments.seconds

    with serve(arguments.magic) as (url, server), serve_peer() as peer:
        rows: dict[str, Callable[[], dict[str, float]]] = {
            "magic, paced": lambda: paced(url, 50 * seconds),
            "FastAPI, paced": lambda: paced(peer, 50 * seconds),
            **{
                f"magic, {many} at once": lambda many=many: with_processor_time(url, server, many, seconds)  # type: ignore[misc]
                for many in CONNECTIONS
            },
            **{
                f"FastAPI, {many} at once": lambda many=many: over_http(peer, "DemoController", many, seconds)  # type: ignore[misc]
                for many in CONNECTIONS
            },
            "fork and exit, 1 loop": lambda: forks(python, 1, seconds),
            f"fork and exit, {CORES} loops": lambda: forks(python, CORES, seconds),
            "deadline": lambda: overshoot(url, 10),
            "memory": lambda: memory(server),
        }
        for warm in ("magic, 1 at once", "FastAPI, 1 at once", "deadline"):
            rows[warm]()
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in rows}
        for round_number in range(arguments.rounds):
            print(f"round {round_number + 1} of {arguments.rounds}", file=sys.stderr)
            for name, row in rows.items():
                taken[name].append(row())

    summary = {name: summarize(figures) for name, figures in taken.items()}
    show(summary)
    stocked = summary["magic, paced"]["p50_ms"][1] / summary["FastAPI, paced"]["p50_ms"][1]
    print(f"\na request that finds a worker takes {stocked:.2f} times as long as FastAPI's")
    ratio = summary["magic, 8 at once"]["per_second"][1] / summary[f"fork and exit, {CORES} loops"]["per_second"][1]
    print(f"throughput is {ratio:.0%} of a bare fork-and-exit loop on each of {CORES} cores")
    keep(
        {
            "interpreter": interpreter,
            "rounds": arguments.rounds,
            "summary": summary,
            "ratio_to_forks": ratio,
            "ratio_to_peer": stocked,
        }
    )


if __name__ == "__main__":
    main()
