"""What all measurements share: load over HTTP, medians with their spread, and where results are kept."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

HERE = pathlib.Path(__file__).resolve().parent
CORES = os.cpu_count() or 1
PATIENCE_SECONDS = 60

# The administrator of the servers that are measured; peers, who ask nobody, are sent the same bytes.
KEY = "the-administrator-of-a-measurement"
HEADERS = {"Content-Type": "application/json", "X-API-Key": KEY}

Figures = dict[str, float]
Spread = tuple[float, float, float]


def write_demo(controllers: pathlib.Path) -> None:
    """Puts the DemoController below a folder of controllers."""
    demo = HERE.parent / "controllers/demo_controller"
    (controllers / "demo_controller").mkdir()
    for name in ("controller.py", "demo_controller.contract.yaml"):
        (controllers / "demo_controller" / name).write_bytes((demo / name).read_bytes())


@contextlib.contextmanager
def serving(magic: str, controllers: pathlib.Path, data: pathlib.Path | None = None) -> Iterator[tuple[str, int]]:
    """Serves a folder of controllers as in production; yields address and process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [magic, "--json", "--data-dir", str(data or f"{folder}/data"), "--socket", f"{folder}/socket", "serve"]
        server = subprocess.Popen(
            [*command, "--listen", "127.0.0.1:0", str(controllers)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "RUST_LOG": "warn", "ADMIN_API_KEY": KEY},
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


@contextlib.contextmanager
def serving_peer(module: str, address_option: str, *options: str) -> Iterator[str]:
    """Serves the same work by another server, a module of this interpreter; yields the address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", module, *options, address_option.format(port=port)]
    server = subprocess.Popen(command, cwd=HERE)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            if server.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{module} did not start")
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def over_http(url: str, controller: str, connections: int, seconds: int) -> Figures:
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--timeout",
        "10s",
        "-H",
        f"X-API-Key: {KEY}",
        "-s",
        str(HERE / "post.lua"),
    ]
    output = subprocess.run([*command, f"{url}/api/execute/{controller}"], check=True, capture_output=True, text=True)
    figures: Figures = json.loads(output.stdout.strip().splitlines()[-1])
    if figures["failed"]:
        sys.exit(f"{figures['failed']} requests failed; the figures would mean nothing")
    return figures


def spread(values: list[float]) -> Spread:
    """Least, median and greatest."""
    return (min(values), statistics.median(values), max(values))


def summarize(taken: list[Figures]) -> dict[str, Spread]:
    """The spread of each figure over all rounds."""
    return {name: spread([figures[name] for figures in taken]) for name in taken[0] if name != "failed"}


def show(summary: dict[str, dict[str, Spread]]) -> None:
    width = max(map(len, summary), default=0) + 2
    print(f"{'row':{width}} {'figure':22} {'median':>10} {'least':>10} {'greatest':>10}")
    for row, figures in summary.items():
        for name, (least, median, greatest) in figures.items():
            print(f"{row:{width}} {name:22} {median:10.2f} {least:10.2f} {greatest:10.2f}")


def keep(results: dict[str, object], suffix: str = "") -> None:
    """Writes the results below the name of the commit."""
    command = ["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    path = HERE / "results" / f"{commit or 'unknown'}{suffix}.json"
    path.write_text(json.dumps({"commit": commit, "cores": CORES, **results}, indent=2) + "\n")
    print(f"kept in {path.relative_to(HERE.parent)}")
