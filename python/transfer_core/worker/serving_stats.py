"""Serving statistics: batch sizes, latency percentiles, refused requests."""

from __future__ import annotations

from collections import Counter, deque
from math import ceil
from typing import Any

# Sliding window of the latency percentiles, in requests.
KEPT = 1000
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


class ServingStats:
    """Counts since the worker started, and the latest `KEPT` latencies. Not thread-safe."""

    def __init__(self) -> None:
        self._batches: Counter[int] = Counter()
        self._last = 0
        self._seconds: deque[float] = deque(maxlen=KEPT)
        self._overloaded = 0

    def record_batch(self, size: int) -> None:
        """Record a forward pass of `size` inputs; 0 if all of them were cancelled."""
        if size:
            self._batches[size] += 1
            self._last = size

    def record_latency(self, seconds: float) -> None:
        """Record the latency of a request, in seconds."""
        self._seconds.append(seconds)

    def record_refusal(self) -> None:
        """Record a request refused at the queue limit."""
        self._overloaded += 1

    def plain(self) -> dict[str, Any]:
        """Statistics as plain data (`docs/reference/protocol.md`, `serving`)."""
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
