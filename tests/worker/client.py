"""The other end of the wire, written with the standard library and msgpack alone."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack

ROOT = Path(__file__).parents[2]
FAKE_WORKER = [str(Path(__file__).with_name("fake_worker.py"))]
REAL_WORKER = ["-m", "transfer_core.worker"]
PATIENCE_S = 20.0


def environment(**more: str) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{ROOT / 'python'}:{ROOT / 'tests'}", **more}


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s for {what}"
        time.sleep(0.005)


def is_running(pid: int) -> bool:
    """False for a zombie too: the process that adopted it may not have looked yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Client:
    """A worker process and the socket to it. Reading takes at most `PATIENCE_S`."""

    def __init__(self, *command: str, **more: str) -> None:
        self.socket, theirs = socket.socketpair()
        with theirs:
            theirs.setblocking(False)  # as Ruby leaves it
            self.process = subprocess.Popen(
                [sys.executable, *(command or FAKE_WORKER), "--fd", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment(**more),
            )
        self.socket.settimeout(PATIENCE_S)
        self._next_id = 1
        self._buffer = b""

    def hello(self) -> Any:
        return self.call("hello", protocol=1, gem_version="0.1.0")

    def send(self, message: Any) -> None:
        content = msgpack.packb(message)
        self.socket.sendall(struct.pack(">I", len(content)) + content)

    def request(self, method: str, /, **params: Any) -> int:
        id, self._next_id = self._next_id, self._next_id + 1
        self.send([0, id, method, params])
        return id

    def cancel(self, id: int) -> None:
        self.send([2, "cancel", {"call": id}])

    def read(self) -> Any:
        """The next message; raises `EOFError` at the end of the stream."""
        (size,) = struct.unpack(">I", self._read_bytes(4))
        return msgpack.unpackb(self._read_bytes(size))

    def response(self, id: int) -> Any:
        """The response to `id`; whatever comes before it is dropped."""
        while True:
            match self.read():
                case [1, answered, error, result] if answered == id:
                    return error or result

    def call(self, method: str, /, **params: Any) -> Any:
        return self.response(self.request(method, **params))

    def messages(self) -> Iterator[Any]:
        with contextlib.suppress(EOFError):
            while True:
                yield self.read()

    def end(self) -> tuple[int, str]:
        """Exit status and standard error of a worker that is expected to leave by itself."""
        _, errors = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, errors.decode()

    def stop(self) -> None:
        self.socket.close()
        if self.process.returncode is None:
            self.process.kill()
            self.process.communicate(timeout=PATIENCE_S)

    def _read_bytes(self, size: int) -> bytes:
        while len(self._buffer) < size:
            try:
                received = self.socket.recv(1 << 16)
            except ConnectionResetError:
                received = b""
            if not received:
                raise EOFError
            self._buffer += received
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data
