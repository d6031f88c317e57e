"""Runs every row in turn, several rounds, and prints medians with their spread."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

from figures import CORES, HERE, keep, over_http, show, summarize

TIMEOUT_MS = 200

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
        controllers = pathlib.Path(folder, "controllers")
        (controllers / "loop").mkdir(parents=True)
        (controllers / "loop/controller.py").write_text(LOOP)
        (controllers / "loop/contract.yaml").write_text(LOOP_CONTRACT)
        demo = HERE.parent / "controllers/demo_controller"
        (controllers / "demo_controller").mkdir()
        for name in ("controller.py", "demo_controller.contract.yaml"):
            (controllers / "demo_controller" / name).write_bytes((demo / name).read_bytes())
        command = [magic, "--json", "--data-dir", f"{folder}/data", "--socket", f"{folder}/socket", "serve"]
        server = subprocess.Popen(
            [*command, "--listen", "127.0.0.1:0", str(controllers)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "RUST_LOG": "warn"},
        )
        assert server.stdout is not None
        try:
            for line in server.stdout:
                event = json.loads(line)
                if event["event"] == "listening":
                    yield event["url"], server.pid
                    return
            sys.exit("the server did not start; try: magic doctor")
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()


def forks(python: str, loops: int, seconds: float) -> dict[str, float]:
    command = [python, "-I", "-S", "-B", str(HERE / "fork_exit.py"), str(seconds)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(loops)]
    return {"per_second": sum(float(process.communicate()[0]) for process in running)}


def overshoot(url: str, requests: int) -> dict[str, float]:
    """By how much a request that must end by its deadline is late, as the caller sees it."""
    late = []
    for _ in range(requests):
        request = urllib.request.Request(f"{url}/api/execute/Loop", b"{}", {"Content-Type": "application/json"})
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

    with serve(arguments.magic) as (url, server):
        rows: dict[str, Callable[[], dict[str, float]]] = {
            "magic, 1 connection": lambda: over_http(url, "DemoController", 1, seconds),
            "magic, 8 connections": lambda: over_http(url, "DemoController", 8, seconds),
            "fork and exit, 1 loop": lambda: forks(python, 1, seconds),
            f"fork and exit, {CORES} loops": lambda: forks(python, CORES, seconds),
            "deadline": lambda: overshoot(url, 10),
            "memory": lambda: memory(server),
        }
        for warm in ("magic, 1 connection", "deadline"):
            rows[warm]()
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in rows}
        for round_number in range(arguments.rounds):
            print(f"round {round_number + 1} of {arguments.rounds}", file=sys.stderr)
            for name, row in rows.items():
                taken[name].append(row())

    summary = {name: summarize(figures) for name, figures in taken.items()}
    show(summary)
    ratio = summary["magic, 8 connections"]["per_second"][1] / summary[f"fork and exit, {CORES} loops"]["per_second"][1]
    print(f"\nthroughput is {ratio:.0%} of a bare fork-and-exit loop on each of {CORES} cores")
    keep({"interpreter": interpreter, "rounds": arguments.rounds, "summary": summary, "ratio_to_forks": ratio})


if __name__ == "__main__":
    main()
