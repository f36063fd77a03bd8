"""Compute lock: serializes trainings and model loads in a process, in FIFO order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import wraps
from typing import Any, TypeVar

from transfer_core.worker.calls import Call

T = TypeVar("T")


class FairLock:
    """Reentrant lock with FIFO order, which its holder can yield to the threads that wait."""

    def __init__(self) -> None:
        self._holder: int | None = None
        self._reentries = 0
        self._waiting: deque[tuple[int, threading.Event]] = deque()
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        me = threading.get_ident()
        with self._lock:
            if self._holder == me:
                self._reentries += 1
                return
            if self._holder is None:
                self._holder = me
                return
            granted = threading.Event()
            self._waiting.append((me, granted))
        granted.wait()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if self._reentries:
                self._reentries -= 1
                return
            self._holder = None
            if self._waiting:
                self._holder, granted = self._waiting.popleft()
                granted.set()

    def yield_to_waiting(self) -> None:
        """If this thread holds the lock, let the threads that wait for it run first."""
        if self._waiting and self._is_held_here():
            with self.released():
                pass

    @contextmanager
    def released(self) -> Iterator[None]:
        """Release the lock within the block, if this thread holds it."""
        held = self._is_held_here()
        if held:
            reentries, self._reentries = self._reentries, 0
            self.__exit__()
        try:
            yield
        finally:
            if held:
                self.__enter__()
                self._reentries = reentries

    def _is_held_here(self) -> bool:
        return self._holder == threading.get_ident()


# The RNG and the number of compute threads are global to the process.
COMPUTE_LOCK = FairLock()


class ExclusiveCall:
    """A call that yields the lock at each cancellation check, and releases it while it waits for rows."""

    def __init__(self, call: Call, lock: FairLock) -> None:
        self._call = call
        self._lock = lock
        self.progress = replace(call.progress, cancelled=self._is_cancelled)

    def rows(self, stream: str, modality: str = "image") -> Iterator[dict[str, Any]]:
        """See `Call.rows`."""
        return _each(self._call.rows(stream, modality), self._lock.released)

    def _is_cancelled(self) -> bool:
        self._lock.yield_to_waiting()
        return self._call.progress.cancelled()


def exclusive(run: Callable[..., Any], lock: FairLock) -> Callable[..., Any]:
    """Wrap the method `run` to hold `lock`."""

    @wraps(run)
    def run_exclusively(call: Call, **params: Any) -> Any:
        with lock:
            return run(ExclusiveCall(call, lock), **params)

    return run_exclusively


def _each(items: Iterator[T], waiting: Callable[[], AbstractContextManager[None]]) -> Iterator[T]:
    while True:
        with waiting():
            try:
                item = next(items)
            except StopIteration:
                return
        yield item
