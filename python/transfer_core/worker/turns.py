"""One computation at a time, where several share a process."""

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


class Turns:
    """A lock that goes round: who holds it and passes it on gets it back after those who wait already. Its
    holder may take it once more."""

    def __init__(self) -> None:
        self._holder: int | None = None
        self._taken_again = 0
        self._waiting: deque[tuple[int, threading.Event]] = deque()
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        me = threading.get_ident()
        with self._lock:
            if self._holder == me:
                self._taken_again += 1
                return
            if self._holder is None:
                self._holder = me
                return
            called = threading.Event()
            self._waiting.append((me, called))
        called.wait()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if self._taken_again:
                self._taken_again -= 1
                return
            self._holder = None
            if self._waiting:
                self._holder, called = self._waiting.popleft()
                called.set()

    def pass_on(self) -> None:
        """Let those who wait go first, if it is this thread's turn."""
        if self._waiting and self._is_mine():
            with self.given_up():
                pass

    @contextmanager
    def given_up(self) -> Iterator[None]:
        """Leave the turn to others meanwhile, if it is this thread's."""
        mine = self._is_mine()
        if mine:
            taken_again, self._taken_again = self._taken_again, 0
            self.__exit__()
        try:
            yield
        finally:
            if mine:
                self.__enter__()
                self._taken_again = taken_again

    def _is_mine(self) -> bool:
        return self._holder == threading.get_ident()


# The random numbers are the process's, and so is how many threads a computation has.
TURNS = Turns()


class CallInTurn:
    """A call whose computation lets others go first between two of its steps, and while it waits for rows."""

    def __init__(self, call: Call, turns: Turns) -> None:
        self._call = call
        self._turns = turns
        self.progress = replace(call.progress, cancelled=self._is_cancelled)

    def rows(self, stream: str, modality: str = "image") -> Iterator[dict[str, Any]]:
        """See `Call.rows`."""
        return _each(self._call.rows(stream, modality), self._turns.given_up)

    def _is_cancelled(self) -> bool:
        self._turns.pass_on()
        return self._call.progress.cancelled()


def in_turn(run: Callable[..., Any], turns: Turns) -> Callable[..., Any]:
    """The method `run`, which waits for its turn."""

    @wraps(run)
    def run_in_turn(call: Call, **params: Any) -> Any:
        with turns:
            return run(CallInTurn(call, turns), **params)

    return run_in_turn


def _each(items: Iterator[T], waiting: Callable[[], AbstractContextManager[None]]) -> Iterator[T]:
    while True:
        with waiting():
            try:
                item = next(items)
            except StopIteration:
                return
        yield item
