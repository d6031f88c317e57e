"""A small supervisor for tests: starts the runner over real socket pairs and speaks its protocols.

It is written from the protocol's description and shares no code with the
runner, so that the two can disagree.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

SDK = Path(__file__).resolve().parent.parent / "src"
PATIENCE = 30.0

COMMAND = "import sys; sys.path[:0]=[{sdk!r}]; from magic._runner import main; main()"


def _remaining(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError("the runner did not answer in time")
    return left


class Worker:
    """The supervisor's side of one worker."""

    def __init__(self) -> None:
        self.channel, self._far_channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._stdout, self._far_stdout = os.pipe()
        self._stderr, self._far_stderr = os.pipe()
        self.channel.settimeout(PATIENCE)
        self.pid: int | None = None
        self.logs: list[dict[str, Any]] = []
        self._printed = {self._stdout: b"", self._stderr: b""}

    def far_ends(self) -> list[int]:
        return [self._far_channel.fileno(), self._far_stdout, self._far_stderr]

    def close_far_ends(self) -> None:
        self._far_channel.close()
        os.close(self._far_stdout)
        os.close(self._far_stderr)

    def receive_exactly(self, size: int) -> bytes:
        data = b""
        end = time.monotonic() + PATIENCE
        while len(data) < size:
            # Draining the pipes meanwhile keeps a talkative controller going.
            sources: list[Any] = [self.channel, *self._open_pipes()]
            ready, _, _ = select.select(sources, [], [], _remaining(end))
            for source in ready:
                if source is self.channel:
                    piece = self.channel.recv(size - len(data))
                    if not piece:
                        raise EOFError(f"the channel ended after {len(data)} of {size} bytes")
                    data += piece
                else:
                    self._drain(source)
        return data

    def _open_pipes(self) -> list[int]:
        return list(self._printed) if self._stdout >= 0 else []

    def _drain(self, descriptor: Any) -> None:
        self._printed[descriptor] += os.read(descriptor, 65536)

    def greet(self, leave: bytes = b"g") -> None:
        assert self.receive_exactly(1) == b"\x01"
        self.channel.sendall(leave)

    def frame(self) -> dict[str, Any]:
        size = int.from_bytes(self.receive_exactly(4), "big")
        message = json.loads(self.receive_exactly(size))
        assert isinstance(message, dict)
        return message

    def send(self, message: Any) -> None:
        payload = json.dumps(message).encode()
        self.channel.sendall(len(payload).to_bytes(4, "big") + payload)

    def make_ready(self) -> Worker:
        self.greet()
        message = self.frame()
        assert message["method"] == "ready", message
        self.pid = message["params"]["pid"]
        return self

    def execute(self, value: Any, deadline_ms: int = 30000) -> None:
        self.send(
            {
                "id": 0,
                "method": "execute",
                "params": {
                    "input": value,
                    "context": {
                        "request_id": "req_test",
                        "deadline_ms": deadline_ms,
                        "caller": {"subject": "anonymous", "roles": ["execute"]},
                        "version": "1.2.0",
                        "controller": "Sample",
                    },
                },
            }
        )

    def outcome(self) -> dict[str, Any]:
        """The last frame; log lines on the way are kept."""
        while True:
            message = self.frame()
            if message.get("method") == "log":
                self.logs.append(message["params"])
                continue
            return message

    def ended(self) -> bool:
        """Waits for the end of the channel; anything else on the way is an error."""
        return self.channel.recv(1) == b""

    def output(self) -> tuple[str, str]:
        """Closes the channel, so that the worker exits, and returns all it printed."""
        self.channel.close()
        end = time.monotonic() + PATIENCE
        waiting = [self._stdout, self._stderr]
        while waiting:
            ready, _, _ = select.select(waiting, [], [], _remaining(end))
            for descriptor in ready:
                data = os.read(descriptor, 65536)
                self._printed[descriptor] += data
                if not data:
                    waiting.remove(descriptor)
        texts = self._printed[self._stdout].decode(), self._printed[self._stderr].decode()
        os.close(self._stdout)
        os.close(self._stderr)
        self._stdout = -1
        return texts

    def close(self) -> None:
        self.channel.close()
        if self._stdout >= 0:
            os.close(self._stdout)
            os.close(self._stderr)
            self._stdout = -1


class Template:
    """The supervisor's side of one template, as a context manager."""

    def __init__(self, python: str, *, cwd: Path | None = None) -> None:
        self.control, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(PATIENCE)
        self._stdout, far_stdout = os.pipe()
        self._stderr, far_stderr = os.pipe()
        self.pid = os.posix_spawn(
            python,
            [python, "-I", "-S", "-B", "-X", "utf8", "-X", "no_debug_ranges", "-c", COMMAND.format(sdk=str(SDK))],
            {"LANG": "C.UTF-8", "HOME": "/", "PATH": "/nonexistent"},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, far_stdout, 1),
                (os.POSIX_SPAWN_DUP2, far_stderr, 2),
                (os.POSIX_SPAWN_DUP2, far.fileno(), 3),
            ],
        )
        far.close()
        os.close(far_stdout)
        os.close(far_stderr)
        self._workers: list[Worker] = []
        self._status: int | None = None

    def __enter__(self) -> Template:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for worker in self._workers:
            worker.close()
        self.control.close()
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
        if error is not None:
            sys.stderr.write(f"template: {self.printed()}\n")
        os.close(self._stdout)
        os.close(self._stderr)

    def wait(self) -> int:
        """The template's wait status."""
        _, self._status = os.waitpid(self.pid, 0)
        return self._status

    def printed(self) -> tuple[str, str]:
        """All that an ended template wrote."""
        texts = []
        for descriptor in (self._stdout, self._stderr):
            data = b""
            while select.select([descriptor], [], [], 0)[0] and (piece := os.read(descriptor, 65536)):
                data += piece
            texts.append(data.decode())
        return texts[0], texts[1]

    def send(self, message: Any, descriptors: list[int] | None = None) -> None:
        # Without blanks, as the supervisor writes: an order to fork is compared, not parsed.
        data = message if isinstance(message, bytes) else json.dumps(message, separators=(",", ":")).encode()
        socket.send_fds(self.control, [data], descriptors or [])

    def receive(self) -> dict[str, Any]:
        data = self.control.recv(65536)
        if not data:
            raise EOFError("the template closed the control channel")
        message = json.loads(data)
        assert isinstance(message, dict)
        return message

    def start(self, module: Path, **changes: Any) -> dict[str, Any]:
        message: dict[str, Any] = {
            "type": "start",
            "sys_path": [str(SDK), str(module.parent)],
            "module": str(module),
            "controller": "Sample",
            "version": "1.2.0",
            "report_exits": False,
            "worker_domain": True,
            "heap_limit": None,
        }
        message.update(changes)
        self.send(message)
        return self.receive()

    def fork(self, kind: str = "fork") -> Worker:
        worker = Worker()
        self._workers.append(worker)
        self.send({"type": kind}, worker.far_ends())
        worker.close_far_ends()
        return worker

    def serve(self, value: Any = None) -> Worker:
        """A worker that has been given its request."""
        worker = self.fork().make_ready()
        worker.execute({} if value is None else value)
        return worker
