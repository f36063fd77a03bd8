"""Progress and cancellation heartbeat of long calculations."""

from __future__ import annotations

from time import monotonic

from transfer_core.runtime.progress import Progress, Step


class Heartbeat:
    """Report progress of a calculation in parts of unknown length, at least once a second.

    Some of the `total` parts may turn out to be unnecessary.
    """

    def __init__(self, progress: Progress, step: Step, total: int, unit: str) -> None:
        self._progress, self._step, self._total, self._unit = progress, step, total, unit
        self._started = 0
        self._reported_at = 0.0

    def next(self) -> None:
        """Report the start of the next part."""
        self._report(self._started)
        self._started += 1

    def check(self) -> None:
        """Report within a part; raise `Cancelled` if the user asked to stop."""
        if monotonic() - self._reported_at > 1:
            self._report(max(0, self._started - 1))
        self._progress.check()

    def finish(self) -> None:
        """Report that all parts are done."""
        self._report(self._total)

    def _report(self, done: int) -> None:
        self._reported_at = monotonic()
        self._progress.advance(self._step, done, self._total, self._unit)
