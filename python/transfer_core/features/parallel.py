"""Data parallelism on CPU cores: one batch per core."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from transfer_core.runtime.devices import cores

A = TypeVar("A")
B = TypeVar("B")


def map_on_cores(work: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """Apply `work` to `items` on all cores and yield the results in order, a few items ahead of the caller.

    Torch, if it is imported, works with one thread inside each: several that share every operation must wait
    for the slowest at each of them, and wait long if other programs use the cores as well. Results don't
    depend on the number of cores.
    """
    threads = cores()
    torch = sys.modules.get("torch")
    threads_before = torch.get_num_threads() if torch else 0
    pending: deque[Future[B]] = deque()
    pool = ThreadPoolExecutor(threads, "transfer-core", initializer=one_thread_inside)
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > 2 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        if torch:
            # New threads start with the number set last.
            torch.set_num_threads(threads_before)


def on_one_core(work: Callable[[], B]) -> B:
    """Return the result of `work`, computed with one torch thread, as in `map_on_cores`."""
    return next(map_on_cores(lambda _: work(), (None,)))


def one_thread_inside() -> None:
    """Limit torch to one thread for the computations of this thread, whatever other threads set."""
    if torch := sys.modules.get("torch"):
        # Until a new thread has read the number, its first operation uses the number set last by any thread.
        torch.get_num_threads()
        torch.set_num_threads(1)
