"""Overall progress of a training: share done and remaining time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import NamedTuple

from transfer_core.runtime.progress import Event, Step

# Seconds and share before which a time left would be a guess.
_FIRST_S, _FIRST_SHARE = 1.0, 0.03
# Seconds between two events.
_EVERY_S = 0.1


class ExpectedPhase(NamedTuple):
    """A phase to come: its `work` in any unit, and the number of its epochs."""

    step: Step
    work: float
    epochs: int = 1


class Overall:
    """Follow the events of a training; derive an `overall` event per stage, else at most ten a second.

    The share never falls. The time left assumes that the rest takes as long per unit of expected work as the
    part that is done; it is None while little is done.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._last = self._began - _EVERY_S
        self._phases: list[ExpectedPhase] = []
        self._current = -1
        self._epoch = 0
        self._share = 0.0

    def expect(self, phases: Sequence[ExpectedPhase]) -> None:
        """Set the phases to come, in order; the first has begun."""
        self._phases = list(phases)
        self._current = 0

    def after(self, event: Event) -> Event | None:
        """The `overall` event after `event`; None if the last one is too recent or no phase is known."""
        kind = event["event"]
        if kind == "stage":
            self._enter(event["step"])
        elif kind == "epoch":
            self._epoch = event["number"]
        within = event["done"] / event["total"] if kind == "progress" and event["total"] else 0.0
        if kind not in ("stage", "epoch", "progress") or self._current < 0:
            return None
        self._share = max(self._share, self._done(within))
        now = self._clock()
        if kind != "stage" and now - self._last < _EVERY_S:
            return None
        self._last = now
        return {"event": "overall", "share": self._share, "seconds_left": self._seconds_left(now)}

    def _enter(self, step: Step) -> None:
        """Enter the next phase of this step; unexpected steps are ignored."""
        later = range(self._current + 1, len(self._phases))
        self._current = next((i for i in later if self._phases[i].step == step), self._current)
        self._epoch = 0

    def _done(self, within: float) -> float:
        total = sum(phase.work for phase in self._phases)
        before = sum(phase.work for phase in self._phases[: self._current])
        current = self._phases[self._current]
        part = min(1.0, (self._epoch + within) / current.epochs)
        return min(0.99, (before + current.work * part) / total) if total else 0.0

    def _seconds_left(self, now: float) -> float | None:
        elapsed = now - self._began
        if elapsed < _FIRST_S or self._share < _FIRST_SHARE:
            return None
        return round(elapsed * (1 - self._share) / self._share, 1)
