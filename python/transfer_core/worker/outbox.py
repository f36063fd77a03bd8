"""Frames on their way to Ruby: in order, by any thread, and never more of them than Ruby reads."""

from __future__ import annotations

import socket
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from itertools import count

# What may wait for a reader that is slow; who sends more waits as well.
LARGEST_BACKLOG = 8 * 1024 * 1024


class Outbox:
    """Writes at once while the socket takes it, else from a thread of its own.

    `lost` is called from whichever thread finds the connection closed.
    """

    def __init__(self, connection: socket.socket, lost: Callable[[], None]) -> None:
        self._connection = connection
        self._lost = lost
        self._waiting: OrderedDict[Hashable, memoryview] = OrderedDict()
        self._backlog = 0
        self._writing = False
        self._closed = False
        self._places = count()
        self._changed = threading.Condition()
        threading.Thread(target=self._write_forever, name="transfer-writer", daemon=True).start()

    def send(self, frame: bytes) -> None:
        """Send `frame` after all that were sent before; blocks while 8 MiB wait."""
        with self._changed:
            self._changed.wait_for(lambda: self._backlog < LARGEST_BACKLOG)
            self._write_or_keep(frame)

    def send_without_blocking(self, frame: bytes) -> None:
        """The same, but it never blocks: for threads that also work for other readers."""
        with self._changed:
            self._write_or_keep(frame)

    def send_latest(self, frame: bytes, key: Hashable) -> None:
        """Send `frame` in place of an earlier one with the same `key` that has not left yet; never blocks."""
        with self._changed:
            if (outdated := self._waiting.pop(key, None)) is not None:
                self._backlog -= len(outdated)
            if rest := self._write_now(frame):
                started = len(rest) < len(frame)
                self._keep(next(self._places) if started else key, rest)

    def close(self) -> None:
        """End the writing thread once nothing waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _write_or_keep(self, frame: bytes) -> None:
        if rest := self._write_now(frame):
            self._keep(next(self._places), rest)

    def _write_now(self, frame: bytes) -> memoryview:
        """Write what the socket takes without blocking, unless others are in line; returns the rest."""
        rest = memoryview(frame)
        if self._waiting or self._writing:
            return rest
        try:
            return rest[self._connection.send(frame, socket.MSG_DONTWAIT) :]
        except BlockingIOError:
            return rest
        except OSError:
            self._lost()
            return rest[:0]

    def _keep(self, key: Hashable, rest: memoryview) -> None:
        self._waiting[key] = rest
        self._backlog += len(rest)
        self._changed.notify_all()

    def _write_forever(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                _, rest = self._waiting.popitem(last=False)
                self._writing = True
            try:
                self._connection.sendall(rest)
            except OSError:
                self._lost()
            with self._changed:
                self._writing = False
                self._backlog -= len(rest)
                self._changed.notify_all()
