"""A sign of life from within long calculations."""

from __future__ import annotations

from time import monotonic

from transfer_core.runtime.progress import Progress, Step


class Pulse:
    """Counts parts of a calculation whose length nobody knows, and is felt at least once a second.

    Of `total` parts, some may turn out not to be needed.
    """

    def __init__(self, progress: Progress, step: Step, total: int, unit: str) -> None:
        self._progress, self._step, self._total, self._unit = progress, step, total, unit
        self._started = 0
        self._told = 0.0

    def next(self) -> None:
        """The next part begins."""
        self._tell(self._started)
        self._started += 1

    def check(self) -> None:
        """A part is still being worked on; raises `Cancelled` if the user asked to stop."""
        if monotonic() - self._told > 1:
            self._tell(max(0, self._started - 1))
        self._progress.check()

    def finish(self) -> None:
        """All parts that were needed are done."""
        self._tell(self._total)

    def _tell(self, done: int) -> None:
        self._told = monotonic()
        self._progress.advance(self._step, done, self._total, self._unit)
