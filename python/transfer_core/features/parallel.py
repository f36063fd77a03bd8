"""One core, one batch: the fastest way for a CPU to run a network over many images."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from transfer_core.runtime.devices import cores

A = TypeVar("A")
B = TypeVar("B")


def map_on_cores(work: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """`work` on each of `items`, in order, on all cores, a few items ahead of the caller.

    Torch works with one thread inside each: several that share every operation must wait for the slowest
    at each of them, and wait long if other programs use the cores as well. Results don't depend on the number
    of cores.
    """
    threads = cores()
    threads_before = torch.get_num_threads()
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
        # The number set last is what threads start with from then on.
        torch.set_num_threads(threads_before)


def on_one_core(work: Callable[[], B]) -> B:
    """The result of `work`, for which torch uses one thread, as it does within `map_on_cores`."""
    return next(map_on_cores(lambda _: work(), (None,)))


def one_thread_inside() -> None:
    """Torch uses one thread for what this thread computes from now on, whatever others set meanwhile."""
    # Before it has asked for the number, a new thread's first operation takes what any thread has set last.
    torch.get_num_threads()
    torch.set_num_threads(1)
