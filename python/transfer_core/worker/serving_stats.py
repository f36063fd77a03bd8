"""What can be seen of serving from outside."""

from __future__ import annotations

from collections import Counter, deque
from math import ceil
from typing import Any

# How many durations are kept for the percentiles.
KEPT = 1000
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


class ServingStats:
    """Counts of a worker's life; of durations the last thousand. Callers hold a lock."""

    def __init__(self) -> None:
        self._batches: Counter[int] = Counter()
        self._last = 0
        self._seconds: deque[float] = deque(maxlen=KEPT)
        self._overloaded = 0

    def note_batch(self, size: int) -> None:
        """`size` inputs went through the network together; 0 if nobody wanted them any more."""
        if size:
            self._batches[size] += 1
            self._last = size

    def note_answer(self, seconds: float) -> None:
        """A request was answered so long after it came."""
        self._seconds.append(seconds)

    def note_refusal(self) -> None:
        """A request was refused, because too many waited."""
        self._overloaded += 1

    def plain(self) -> dict[str, Any]:
        """As `docs/reference/protocol.md` says under `serving`."""
        count = self._batches.total()
        inputs = sum(size * times for size, times in self._batches.items())
        return {
            "batches": {
                "count": count,
                "mean": inputs / count if count else None,
                "last": self._last or None,
                "sizes": {str(size): times for size, times in sorted(self._batches.items())},
            },
            "seconds": _percentiles(sorted(self._seconds)),
            "refused": self._overloaded,
        }


def _percentiles(ordered: list[float]) -> dict[str, float] | None:
    if not ordered:
        return None
    found = {name: ordered[ceil(len(ordered) * share) - 1] for name, share in PERCENTILES.items()}
    return {**found, "max": ordered[-1]}
