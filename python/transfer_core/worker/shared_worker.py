"""Shared worker (`--listen PATH --lock N`): one worker for all processes of a user on this machine.

`docs/reference/protocol.md`, "A shared worker", specifies discovery and handshake.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from transfer_core.worker.clients import STANDARD_ERROR, Clients
from transfer_core.worker.process import (
    LOWEST_DESCRIPTOR,
    become_daemon,
    print_to_standard_error,
    resident_memory,
)
from transfer_core.worker.server import Method

# Connections that the kernel queues.
BACKLOG = 128
POLL_S = 0.5
# Time for running calls to stop after SIGTERM.
GRACE_S = 2.0
# The output of libraries goes into the report of a crash; older output is discarded.
LONGEST_OUTPUT = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Limits at which the worker is replaced, or ends when idle; None: no limit."""

    idle_s: float | None = None
    lifetime_s: float | None = None
    calls: int | None = None
    memory: int | None = None


class Endpoint:
    """Listening socket `PATH.sock`, and `PATH.lock`, which guarantees a single worker.

    Only the holder of the lock deletes both. A lock file that was replaced belongs to another worker.
    """

    def __init__(self, path: str, lock: int) -> None:
        self._socket, self._lock_file = f"{path}.sock", f"{path}.lock"
        # Not inheritable: a child process would hold the lock as long as it runs.
        self._lock = fcntl.fcntl(lock, fcntl.F_DUPFD_CLOEXEC, LOWEST_DESCRIPTOR)
        os.close(lock)
        self._listener = _listen(path, self._socket)
        self._wake_read, self._wake_write = os.pipe()
        self._is_open = True
        self.shutdown_requested = False
        os.register_at_fork(after_in_child=self._close)

    def accept(self) -> socket.socket | None:
        """Accept a connection; None after `POLL_S` seconds, or when a shutdown was requested."""
        ready, _, _ = select.select([self._listener.fileno(), self._wake_read], [], [], POLL_S)
        if self._listener.fileno() not in ready:
            return None
        line, _ = self._listener.accept()
        line.setblocking(True)
        return line

    def request_shutdown(self, *_: object) -> None:
        """Signal handler: request a shutdown and wake `accept`."""
        self.shutdown_requested = True
        os.write(self._wake_write, b".")

    def is_reachable(self) -> bool:
        """Whether the socket and the lock file still exist."""
        return self._has_lock() and os.path.exists(self._socket)

    def withdraw(self) -> None:
        """Remove socket and lock file, so that another worker can start."""
        if self._has_lock():
            for file in (self._socket, self._lock_file):
                with suppress(FileNotFoundError):
                    os.unlink(file)
        self._close()
        self._is_open = False

    def _has_lock(self) -> bool:
        with suppress(OSError):
            return os.path.samestat(os.lstat(self._lock_file), os.fstat(self._lock))
        return False

    def _close(self) -> None:
        if self._is_open:
            self._listener.close()
            os.close(self._lock)


def _listen(path: str, name: str) -> socket.socket:
    # Renamed once it accepts connections; this also replaces the socket of a worker that was killed.
    with suppress(FileNotFoundError):
        os.unlink(f"{path}.new")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(f"{path}.new")
    os.chmod(f"{path}.new", 0o600)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    os.rename(f"{path}.new", name)
    return listener


def listen(arguments: list[str], methods: Mapping[str, Method], warm_up: Callable[[], None]) -> NoReturn:
    """Serve clients until a limit is reached and all have disconnected, or until SIGTERM."""
    given = _parse(arguments)
    become_daemon()
    print_to_standard_error()
    clients, endpoint = Clients(methods, warm_up), Endpoint(given.listen, given.lock)
    signal.signal(signal.SIGTERM, endpoint.request_shutdown)
    _accept_until_limit(endpoint, clients, Limits(given.idle, given.lifetime, given.calls, given.memory))
    endpoint.withdraw()
    clients.drain()
    while not endpoint.shutdown_requested and not clients.wait(POLL_S):
        _truncate_output()
    if endpoint.shutdown_requested:
        clients.disconnect()
        clients.wait(GRACE_S)
    os._exit(0)


def _accept_until_limit(endpoint: Endpoint, clients: Clients, limits: Limits) -> None:
    started = checked = time.monotonic()
    while not endpoint.shutdown_requested:
        try:
            if line := endpoint.accept():
                clients.add(line)
        except (OSError, RuntimeError):
            time.sleep(POLL_S)  # out of descriptors or threads: retry after other clients have disconnected
        if time.monotonic() - checked < POLL_S:
            continue
        checked = time.monotonic()
        _truncate_output()
        if not endpoint.is_reachable() or _is_reached(limits, clients, checked - started):
            return


def _is_reached(limits: Limits, clients: Clients, age_s: float) -> bool:
    return (
        (limits.idle_s is not None and clients.idle_s() >= limits.idle_s)
        or (limits.lifetime_s is not None and age_s >= limits.lifetime_s)
        or (limits.calls is not None and clients.calls >= limits.calls)
        or (limits.memory is not None and resident_memory() > limits.memory)
    )


def _truncate_output() -> None:
    if os.fstat(STANDARD_ERROR).st_size > LONGEST_OUTPUT:
        os.ftruncate(STANDARD_ERROR, 0)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m transfer_core.worker")
    parser.add_argument("--listen", required=True, metavar="PATH", help="PATH.sock and PATH.lock")
    parser.add_argument("--lock", type=int, required=True, metavar="N", help="descriptor that holds the lock")
    parser.add_argument("--idle", type=float, metavar="S", help="end after S seconds without a client")
    parser.add_argument("--lifetime", type=float, metavar="S", help="be replaced after S seconds")
    parser.add_argument("--calls", type=int, metavar="N", help="be replaced after N calls")
    parser.add_argument("--memory", type=int, metavar="BYTES", help="be replaced above this resident size")
    return parser.parse_args(arguments)
