"""Servers for one measurement: ``magic dev`` with a data folder of its own, and PostgreSQL.

Both are ended by leaving their ``with`` block, and by the kernel if the measurement is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

PATIENCE_SECONDS = 60


@contextlib.contextmanager
def magic(program: list[str], folder: pathlib.Path, controllers: pathlib.Path, **environment: str) -> Iterator[str]:
    """Serves the controllers with its files in ``folder``; yields the address."""
    command = [*program, "--json", "--data-dir", f"{folder}/data", "--socket", f"{folder}/socket", "dev", str(controllers)]
    with open(folder / "log", "w") as log:
        server = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *command, "--listen", "127.0.0.1:0"],
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "RUST_LOG": "warn", **environment},
        )
    assert server.stdout is not None
    try:
        for line in server.stdout:
            event = json.loads(line)
            if event["event"] == "listening":
                yield f"http://{event['address']}"
                return
        sys.exit(f"the server did not start; try: magic doctor\n{(folder / 'log').read_text()}")
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


def migrate(program: list[str], folder: pathlib.Path, migrations: pathlib.Path, **environment: str) -> None:
    command = [*program, "--data-dir", f"{folder}/data", "migrate", str(migrations)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **environment})


@contextlib.contextmanager
def postgres(folder: pathlib.Path) -> Iterator[str]:
    """Starts a server with one superuser who needs no password; yields the URL of an empty database."""
    programs = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not programs:
        sys.exit("PostgreSQL is missing; on Debian: apt-get install postgresql")
    binaries = programs[-1].parent
    if os.geteuid() == 0:
        # The server refuses to run as root, so root hands the folder to its user.
        shutil.chown(folder, "postgres", "postgres")
    initialize = ["initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N", "-D", f"{folder}/data"]
    subprocess.run(as_postgres(binaries, initialize), check=True, stdout=subprocess.DEVNULL, cwd="/")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
    with open(folder / "log", "w") as log:
        command = as_postgres(binaries, ["postgres", "-D", f"{folder}/data", "-p", str(port), *options])
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd="/")
    try:
        ready = [str(binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
        deadline = time.monotonic() + PATIENCE_SECONDS
        while subprocess.run(ready).returncode != 0:
            if server.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"PostgreSQL did not start\n{(folder / 'log').read_text()}")
            time.sleep(0.05)
        yield f"postgres://postgres@127.0.0.1:{port}/postgres"
    finally:
        # SIGINT is the server's own word for a fast end, which takes its connections along.
        server.send_signal(signal.SIGINT)
        server.wait()


def as_postgres(binaries: pathlib.Path, command: list[str]) -> list[str]:
    wrapped = ["setpriv", "--pdeathsig", "KILL"]
    if os.geteuid() == 0:
        wrapped += ["--reuid", "postgres", "--regid", "postgres", "--init-groups"]
    return [*wrapped, "--", str(binaries / command[0]), *command[1:]]


def file_system(folder: pathlib.Path) -> str:
    """The type of the file system that holds a folder."""
    command = ["findmnt", "--noheadings", "--output", "FSTYPE", "--target", str(folder)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
