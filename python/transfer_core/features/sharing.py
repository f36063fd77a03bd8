"""Number of threads of a small forward pass on a CPU: one or all cores, selected by timing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from transfer_core.runtime.devices import cores, torch_threads

# Minimum number of timings per choice: the first passes include preparation for a new input shape.
FEW = 3
# Maximum, if the choices are close: the first passes of a thread are slow, and other programs disturb some.
MANY = 12
# Ratio of times from which a choice is clear.
CLEARLY = 2


class Sharing:
    """Select one thread or all cores per number of inputs, from the times of the first passes.

    Threads synchronize after every operation. MobileNetV2 takes 4 ms for a photo on one core, and 10 on two
    that sleep while they wait; ResNet-50 19 and 14 (AMD EPYC, bfloat16).
    """

    def __init__(self) -> None:
        self._seconds: defaultdict[tuple[int, int], list[float]] = defaultdict(list)

    @contextmanager
    def threads_for(self, count: int) -> Iterator[None]:
        """Set the number of torch threads for the pass over `count` inputs in this context, and time it."""
        threads = self._choose(count)
        started = perf_counter()
        with torch_threads(threads):
            yield
        known = self._seconds[count, threads]
        if len(known) < MANY:
            known.append(perf_counter() - started)

    def _choose(self, count: int) -> int:
        """Return the choice with fewer timings, or the faster one once it is clear."""
        alone, shared = 1, cores()
        times = [self._seconds[count, threads] for threads in (alone, shared)]
        if not _is_clear(*times):
            return shared if len(times[1]) < len(times[0]) else alone
        return shared if min(times[1]) < min(times[0]) else alone


def _is_clear(one: list[float], other: list[float]) -> bool:
    """Whether the timings of two choices decide which is faster."""
    timed = min(len(one), len(other))
    if timed < FEW:
        return False
    faster, slower = sorted((min(one), min(other)))
    return timed == MANY or slower > CLEARLY * faster
