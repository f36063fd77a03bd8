"""One worker for several processes: how it is found, how it ends, and that nobody holds up the others."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from worker.client import FAKE_WORKER, PATIENCE_S, Client, environment, is_running, wait_until

TAKEN, NO_MORE = b"+", b"-"


class Listener:
    """A worker that listens, started as Ruby does."""

    def __init__(self, folder: Path, *limits: str, printed: bytes = b"", files: int | None = None) -> None:
        self.path = folder / "worker"
        self.output = folder / "output"
        self.output.write_bytes(printed)
        limit = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (files, files)) if files else None
        with self.lock() as lock, self.output.open("ab") as output:
            assert lock
            subprocess.run(
                [sys.executable, *FAKE_WORKER, "--listen", self.path, "--lock", str(lock.fileno()), *limits],
                pass_fds=[lock.fileno()],
                stderr=output,
                env=environment(),
                preexec_fn=limit,
                check=True,
            )
        wait_until(Path(f"{self.path}.sock").exists, "the socket")
        self.clients: list[Shared] = []

    def lock(self) -> Lock:
        return Lock(Path(f"{self.path}.lock"))

    def is_locked(self) -> bool:
        with self.lock() as lock:
            return lock is None

    def connect(self) -> Shared:
        self.clients.append(Shared(f"{self.path}.sock"))
        return self.clients[-1]

    def client(self) -> Shared:
        client = self.connect()
        assert client.introduce() == TAKEN
        client.hello()
        return client

    def pids(self) -> list[int]:
        lines = {int(file.parent.name): file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline")}
        return [pid for pid, line in lines.items() if b"--listen\0" + os.fsencode(self.path) + b"\0" in line]

    def end(self) -> None:
        for client in self.clients:
            client.stop()
        for pid in self.pids():
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.pids(), "the worker to go")


class Lock:
    """The file's lock, None if somebody holds it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")

    def __enter__(self):
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        return self._file

    def __exit__(self, *_: object) -> None:
        self._file.close()


class Shared(Client):
    """A connection to it."""

    def __init__(self, path: str) -> None:
        self.line = socket.socket(socket.AF_UNIX)
        self.line.connect(path)  # waits while the line is too long
        self.line.settimeout(PATIENCE_S)
        self.socket, self._theirs = socket.socketpair()
        self.socket.settimeout(PATIENCE_S)
        self._next_id = 1
        self._buffer = b""

    def introduce(self) -> bytes:
        """What it says to that."""
        memory = [os.memfd_create("test") for _ in range(2)]
        with self._theirs:
            socket.send_fds(self.line, [b"+"], [self._theirs.fileno(), *memory])
        for file in memory:
            os.close(file)
        said, files, *_ = socket.recv_fds(self.line, 1, 1)
        for file in files:
            os.close(file)
        return said

    def stop(self) -> None:
        for each in (self.line, self.socket, self._theirs):
            each.close()


@pytest.fixture
def listen(leave_nothing_behind: None, tmp_path: Path) -> Iterator[Callable[..., Listener]]:
    listeners: list[Listener] = []

    def start(*limits: str, **words: object) -> Listener:
        listeners.append(Listener(tmp_path, *limits, **words))
        return listeners[-1]

    yield start
    for listener in listeners:
        listener.end()


def test_a_request_to_terminate_is_obeyed_once_the_calls_are_cancelled(
    listen: Callable[..., Listener], tmp_path: Path
) -> None:
    listener = listen()
    client, idle = listener.client(), listener.client()
    call = client.request("wait_for_cancel")
    assert client.read()[1] == "event"
    os.kill(client.call("pid"), signal.SIGTERM)
    assert client.response(call)["type"] == "Cancelled"
    assert list(client.messages()) == []
    assert [idle.line.recv(1), idle.line.recv(1)] == [NO_MORE, b""]
    assert [file.name for file in tmp_path.iterdir()] == ["output"]
    wait_until(lambda: not listener.pids(), "the worker to go")


def test_a_child_of_the_worker_holds_neither_lock_nor_connections(
    listen: Callable[..., Listener], tmp_path: Path
) -> None:
    listener = listen()
    client, release = listener.client(), tmp_path / "release"
    child = client.call("fork", release=str(release))
    assert listener.is_locked()
    try:
        os.kill(client.call("pid"), signal.SIGKILL)
        assert list(client.messages()) == []
        wait_until(lambda: not listener.is_locked(), "the kernel to close the lock, after the connections")
        assert is_running(child)
    finally:
        release.touch()


def test_who_waits_and_says_nothing_is_let_go(listen: Callable[..., Listener]) -> None:
    listener = listen()
    silent = listener.connect()
    assert listener.client().call("echo", value=1) == 1
    assert silent.line.recv(1) == b""
    assert "a client sent nothing for 5 s" in listener.output.read_text()


def test_what_it_prints_does_not_become_long(listen: Callable[..., Listener]) -> None:
    listener = listen(printed=b"x" * 2_000_000)
    listener.client().call("print_a_lot")
    wait_until(lambda: listener.output.stat().st_size < 1000, "a short file")


def test_with_too_many_files_open_it_waits_until_some_have_left(listen: Callable[..., Listener]) -> None:
    listener = listen(files=128)
    first = listener.client()
    assert first.call("echo", value=1) == 1
    many = [listener.connect() for _ in range(150)]
    time.sleep(0.2)
    assert first.call("echo", value=2) == 2
    for client in many:
        client.stop()
    assert listener.client().call("echo", value=3) == 3


def test_a_client_that_does_not_read_holds_up_nobody(listen: Callable[..., Listener]) -> None:
    listener = listen()
    stuck, other = listener.client(), listener.client()
    for _ in range(100):
        stuck.request("promise", value="x" * 200_000)
    assert other.call("promise", value="y") == "y"
    assert stuck.read()[3] == "x" * 200_000


@pytest.mark.parametrize(
    "arguments", [["--listen", "/tmp/x"], ["--listen"], ["--listen", "/x", "--lock", "a"]]
)
def test_what_it_is_told_wrongly_it_says(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "transfer_core.worker", *arguments]
    ran = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert ran.returncode == 2
    assert ran.stderr.startswith("usage: python -m transfer_core.worker")
