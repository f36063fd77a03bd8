"""Progress and cancellation heartbeat of long calculations."""

from __future__ import annotations

from math import exp
from time import monotonic

from transfer_core.runtime.progress import Progress, Step


class Heartbeat:
    """Report progress of a calculation in parts of unknown length, at least once a second.

    Some of the `total` parts may turn out to be unnecessary.
    """

    def __init__(self, progress: Progress, step: Step, total: int, unit: str) -> None:
        self._progress, self._step, self._total, self._unit = progress, step, total, unit
        self._done = self._begun = 0
        self._checks, self._expected = 0, 1
        self._reported_at = 0.0

    def next(self, parts: int = 1, checks: int = 1) -> None:
        """Report the start of the next `parts`, within which so many checks are expected."""
        self._done += self._begun
        self._begun, self._checks, self._expected = parts, 0, checks
        self._report(self._done)

    def check(self) -> None:
        """Report within a part; raise `Cancelled` if the user asked to stop."""
        self._checks += 1
        if monotonic() - self._reported_at > 1:
            share = 1 - exp(-self._checks / self._expected)  # there may be more checks than expected
            self._report(self._done + int(self._begun * share))
        self._progress.check()

    def finish(self) -> None:
        """Report that all parts are done."""
        self._report(self._total)

    def _report(self, done: int) -> None:
        self._reported_at = monotonic()
        self._progress.advance(self._step, done, self._total, self._unit)
