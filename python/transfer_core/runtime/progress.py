"""Progress events and cancellation of long calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Any, Literal, TypeVar

from transfer_core.runtime.errors import Cancelled, shortened

Step = Literal["choose", "freeze", "head", "train", "fine_tune", "evaluate"]
Event = dict[str, Any]
T = TypeVar("T")


def _ignore(event: Event) -> None:
    """Drop the event."""


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Progress:
    """Two callbacks: `emit` receives events; `cancelled` returns whether the user asked to stop.

    Events are plain dicts with the key `event`: `run`, `stage`, `progress`, `epoch`, `warning`, `piece`
    (of a generated text), or `overall` (trainings only).
    """

    emit: Callable[[Event], None] = _ignore
    cancelled: Callable[[], bool] = _never

    def check(self) -> None:
        """Raise `Cancelled` if the user asked to stop."""
        if self.cancelled():
            raise Cancelled("cancelled")

    def run(self, id: str, path: str, history: list[dict[str, Any]]) -> None:
        """Report the directory of a run, and the `history` of epochs that an earlier process finished."""
        self.emit({"event": "run", "id": id, "path": path, "history": history})

    def stage(self, step: Step, title: str) -> None:
        """Report the start of one of the steps of transfer learning."""
        self.check()
        self.emit({"event": "stage", "step": step, "title": title})

    def warning(self, message: str) -> None:
        """Report a problem that does not stop the work."""
        self.emit({"event": "warning", "message": shortened(message)})

    def piece(self, text: str) -> None:
        """Report a piece of a generated text."""
        self.emit({"event": "piece", "text": text})
        self.check()

    def epoch(self, step: Step, number: int, of: int, metrics: dict[str, float]) -> None:
        """Report the end of an epoch."""
        self.emit({"event": "epoch", "step": step, "number": number, "of": of, "metrics": metrics})
        self.check()

    def advance(self, step: Step, done: int, total: int, unit: str) -> None:
        """Report that `done` of `total` units are finished."""
        self.emit({"event": "progress", "step": step, "done": done, "total": total, "unit": unit})
        self.check()

    def track(
        self, items: Iterable[T], step: Step, total: int, unit: str, every_s: float = 0.1
    ) -> Iterator[T]:
        """Yield `items`; report the number done at most once per `every_s` seconds, and at the end."""
        last = monotonic()
        for done, item in enumerate(items):
            self.check()
            if monotonic() - last >= every_s:
                last = monotonic()
                self.advance(step, done, total, unit)
            yield item
        self.advance(step, total, total, unit)
