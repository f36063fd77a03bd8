"""On a CPU, whether the cores share a forward pass over a few inputs, or one of them makes it alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from transfer_core.devices import cores, torch_threads

# How often each way is timed; the first time a network also prepares itself for inputs of a new shape.
TIMES = 3


class Sharing:
    """Which of both is faster for how many inputs: found out by the first passes that are made.

    Threads meet after every operation. MobileNetV2 takes 4 ms for a photo on one core, and 10 on two that
    sleep while they wait; ResNet-50 19 and 14 (AMD EPYC, bfloat16).
    """

    def __init__(self) -> None:
        self._seconds: defaultdict[tuple[int, int], list[float]] = defaultdict(list)

    @contextmanager
    def threads_for(self, count: int) -> Iterator[None]:
        """As many torch threads as pay, for the pass over `count` inputs that is made within."""
        threads = self._choose(count)
        started = perf_counter()
        with torch_threads(threads):
            yield
        known = self._seconds[count, threads]
        if len(known) < TIMES:
            known.append(perf_counter() - started)

    def _choose(self, count: int) -> int:
        """1 or all, whichever was timed less often; once both are known, the faster."""
        both = (1, cores())
        times = [len(self._seconds[count, threads]) for threads in both]
        if min(times) < TIMES:
            return both[times[1] < times[0]]
        return min(both, key=lambda threads: min(self._seconds[count, threads]))
