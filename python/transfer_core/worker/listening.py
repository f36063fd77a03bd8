"""`--listen PLACE --lock N`: one worker for all processes of a user on this machine.

`docs/reference/protocol.md`, "A shared worker", says how they find it and what passes between them.
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

# Who connects waits in line meanwhile.
BACKLOG = 128
LOOK_AROUND_S = 0.5
# What is computed when we are told to end has this long to notice.
PATIENCE_S = 2.0
# What libraries print is kept for the error of a crash, and not forever.
LONGEST_OUTPUT = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """How long the worker is kept, None: without a limit."""

    idle_s: float | None = None
    lifetime_s: float | None = None
    calls: int | None = None
    memory: int | None = None


class Place:
    """`PATH.sock`, where the worker is found, and `PATH.lock`, which says that it is the only one.

    Whoever holds the lock may delete both. A lock that somebody else has put there is not ours.
    """

    def __init__(self, path: str, lock: int) -> None:
        self._socket, self._lock_file = f"{path}.sock", f"{path}.lock"
        # Out of reach of our children: the lock would last as long as they do.
        self._lock = fcntl.fcntl(lock, fcntl.F_DUPFD_CLOEXEC, LOWEST_DESCRIPTOR)
        os.close(lock)
        self._listener = _listen(path, self._socket)
        self._alarm, self._bell = os.pipe()
        self._is_open = True
        self.is_given_up = False
        os.register_at_fork(after_in_child=self._close)

    def accept(self) -> socket.socket | None:
        """A connection, None if nobody came for a moment, or if the place was given up."""
        ready, _, _ = select.select([self._listener.fileno(), self._alarm], [], [], LOOK_AROUND_S)
        if self._listener.fileno() not in ready:
            return None
        line, _ = self._listener.accept()
        line.setblocking(True)
        return line

    def give_up(self, *_: object) -> None:
        """A signal's handler: wakes whoever waits in `accept`."""
        self.is_given_up = True
        os.write(self._bell, b".")

    def is_found(self) -> bool:
        """False once somebody has deleted the files."""
        return self._has_lock() and os.path.exists(self._socket)

    def leave(self) -> None:
        """From now on another worker can be started."""
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
    # It gets its name when it can be connected to; that of one that was killed goes with it.
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
    """Serve all who come, until a limit is reached and all have left, or until SIGTERM comes."""
    given = _parse(arguments)
    become_daemon()
    print_to_standard_error()
    clients, place = Clients(methods, warm_up), Place(given.listen, given.lock)
    signal.signal(signal.SIGTERM, place.give_up)
    _welcome_all(place, clients, Limits(given.idle, given.lifetime, given.calls, given.memory))
    place.leave()
    clients.say_no_more()
    while not place.is_given_up and not clients.wait(LOOK_AROUND_S):
        _shorten_output()
    if place.is_given_up:
        clients.hang_up()
        clients.wait(PATIENCE_S)
    os._exit(0)


def _welcome_all(place: Place, clients: Clients, limits: Limits) -> None:
    began = looked = time.monotonic()
    while not place.is_given_up:
        try:
            if line := place.accept():
                clients.welcome(line)
        except (OSError, RuntimeError):
            time.sleep(LOOK_AROUND_S)  # too many files or threads: when some have left there is room again
        if time.monotonic() - looked < LOOK_AROUND_S:
            continue
        looked = time.monotonic()
        _shorten_output()
        if not place.is_found() or _is_reached(limits, clients, looked - began):
            return


def _is_reached(limits: Limits, clients: Clients, age_s: float) -> bool:
    return (
        (limits.idle_s is not None and clients.idle_s() >= limits.idle_s)
        or (limits.lifetime_s is not None and age_s >= limits.lifetime_s)
        or (limits.calls is not None and clients.calls >= limits.calls)
        or (limits.memory is not None and resident_memory() > limits.memory)
    )


def _shorten_output() -> None:
    if os.fstat(STANDARD_ERROR).st_size > LONGEST_OUTPUT:
        os.ftruncate(STANDARD_ERROR, 0)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m transfer_core.worker")
    parser.add_argument("--listen", required=True, metavar="PATH", help="PATH.sock and PATH.lock")
    parser.add_argument("--lock", type=int, required=True, metavar="N", help="descriptor that holds the lock")
    parser.add_argument("--idle", type=float, metavar="S", help="end when nobody was connected for so long")
    parser.add_argument("--lifetime", type=float, metavar="S", help="be replaced when so old")
    parser.add_argument("--calls", type=int, metavar="N", help="be replaced after so many")
    parser.add_argument("--memory", type=int, metavar="BYTES", help="be replaced when so big")
    return parser.parse_args(arguments)
