"""Warnings and times of a run."""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic

from transfer_core.runtime.progress import Event


class RunLog:
    """Collects the warnings of a run, each once, and the time of its steps.

    Attributes
    ----------
    warnings
        In the order of their first occurrence; those of an interrupted run come first.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.warnings: list[str] = []
        self._clock = clock
        self._spent: dict[str, float] = {}
        self._step, self._since = "", 0.0

    def add(self, event: Event) -> bool:
        """Note an event; returns False for a repeated warning."""
        if event["event"] == "warning":
            if event["message"] in self.warnings:
                return False
            self.warnings.append(event["message"])
        elif event["event"] == "stage":
            self._spend()
            self._step = event["step"]
        return True

    def seconds(self) -> dict[str, float]:
        """Seconds of each step so far; empty for a reproducible file (`SOURCE_DATE_EPOCH`)."""
        self._spend()
        if "SOURCE_DATE_EPOCH" in os.environ:
            return {}
        return {step: round(spent, 3) for step, spent in self._spent.items()}

    def _spend(self) -> None:
        now = self._clock()
        if self._step:
            self._spent[self._step] = self._spent.get(self._step, 0.0) + now - self._since
        self._since = now
