"""Threads that wait until there is something for them to do."""

from __future__ import annotations

import threading
from contextlib import suppress
from types import TracebackType


class Standby:
    """A `threading.Condition` that wakes whoever came last first.

    Its processor and its share of the heap still hold what it worked with: where calls come one by one, one
    thread answers them all. In turn, each would find its memory cold, half a millisecond for a small network.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._waiting: list[threading.Condition] = []

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def wait(self, timeout: float | None) -> None:
        """Without the lock, until woken or for `timeout` seconds."""
        mine = threading.Condition(self._lock)
        self._waiting.append(mine)
        mine.wait(timeout)
        with suppress(ValueError):  # whoever wakes it takes it out
            self._waiting.remove(mine)

    def notify(self, count: int = 1) -> None:
        """Wake up to `count` threads."""
        for _ in range(min(count, len(self._waiting))):
            self._waiting.pop().notify()

    def notify_all(self) -> None:
        """Wake them all."""
        self.notify(len(self._waiting))
