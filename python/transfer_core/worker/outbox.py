"""Outgoing frames: thread-safe, in order, with back-pressure."""

from __future__ import annotations

import socket
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from itertools import count

# Bytes queued for a slow reader at most; `send` blocks beyond.
LARGEST_BACKLOG = 8 * 1024 * 1024


class Outbox:
    """Send queue of a socket: writes directly while the socket accepts data, otherwise from its own thread.

    `lost` is called from the thread that finds the connection closed.
    """

    def __init__(self, connection: socket.socket, lost: Callable[[], None]) -> None:
        self._connection = connection
        self._lost = lost
        self._queue: OrderedDict[Hashable, memoryview] = OrderedDict()
        self._backlog = 0
        self._writing = False
        self._closed = False
        self._sequence = count()
        self._changed = threading.Condition()
        threading.Thread(target=self._write_forever, name="transfer-writer", daemon=True).start()

    def send(self, frame: bytes) -> None:
        """Send `frame` after all earlier ones; blocks while `LARGEST_BACKLOG` bytes are queued."""
        with self._changed:
            self._changed.wait_for(lambda: self._backlog < LARGEST_BACKLOG)
            self._write_or_queue(frame)

    def send_without_blocking(self, frame: bytes) -> None:
        """Send `frame` without back-pressure: for threads that serve other clients, too."""
        with self._changed:
            self._write_or_queue(frame)

    def send_latest(self, frame: bytes, key: Hashable) -> None:
        """Send `frame`, replacing a queued one with the same `key`; never blocks."""
        with self._changed:
            if (outdated := self._queue.pop(key, None)) is not None:
                self._backlog -= len(outdated)
            if rest := self._write_now(frame):
                started = len(rest) < len(frame)
                self._enqueue(next(self._sequence) if started else key, rest)

    def close(self) -> None:
        """End the writing thread once the queue is empty."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _write_or_queue(self, frame: bytes) -> None:
        if rest := self._write_now(frame):
            self._enqueue(next(self._sequence), rest)

    def _write_now(self, frame: bytes) -> memoryview:
        """Write as much as the socket accepts without blocking, if the queue is empty; return the rest."""
        rest = memoryview(frame)
        if self._queue or self._writing:
            return rest
        try:
            return rest[self._connection.send(frame, socket.MSG_DONTWAIT) :]
        except BlockingIOError:
            return rest
        except OSError:
            self._lost()
            return rest[:0]

    def _enqueue(self, key: Hashable, rest: memoryview) -> None:
        self._queue[key] = rest
        self._backlog += len(rest)
        self._changed.notify_all()

    def _write_forever(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closed)
                if not self._queue:
                    return
                _, rest = self._queue.popitem(last=False)
                self._writing = True
            try:
                self._connection.sendall(rest)
            except OSError:
                self._lost()
            with self._changed:
                self._writing = False
                self._backlog -= len(rest)
                self._changed.notify_all()
