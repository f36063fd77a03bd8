"""On a CPU, whether the cores share a forward pass over a few inputs, or one of them makes it alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from transfer_core.runtime.devices import cores, torch_threads

# How often each way is timed at least: at first a network also prepares itself for inputs of a new shape.
FEW = 3
# And at most, where they are close: a thread's first passes are slow, and other programs disturb some.
MANY = 12
# How many times as long a way takes that need not be timed any more.
CLEARLY = 2


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
        if len(known) < MANY:
            known.append(perf_counter() - started)

    def _choose(self, count: int) -> int:
        """1 or all, whichever was timed less often; once that is clear, the faster."""
        alone, shared = 1, cores()
        times = [self._seconds[count, threads] for threads in (alone, shared)]
        if not _is_clear(*times):
            return shared if len(times[1]) < len(times[0]) else alone
        return shared if min(times[1]) < min(times[0]) else alone


def _is_clear(one: list[float], other: list[float]) -> bool:
    """Whether it is known which of two ways is faster, by the seconds that each took."""
    timed = min(len(one), len(other))
    if timed < FEW:
        return False
    faster, slower = sorted((min(one), min(other)))
    return timed == MANY or slower > CLEARLY * faster
