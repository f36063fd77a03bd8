"""How a long call tells the outside what it is doing, and hears that it should stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Any, Literal, TypeVar

from transfer_core.errors import Cancelled

Step = Literal["choose", "freeze", "head", "train", "fine_tune", "evaluate"]
Event = dict[str, Any]
T = TypeVar("T")


def _ignore(event: Event) -> None:
    """Nobody is listening."""


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Progress:
    """Two callbacks: `emit` takes events, `cancelled` says whether the user wants to stop.

    Events are plain dicts with the key `event`, one of `stage`, `progress`, `epoch`, `warning`.
    """

    emit: Callable[[Event], None] = _ignore
    cancelled: Callable[[], bool] = _never

    def check(self) -> None:
        """Raise `Cancelled` if the user asked to stop."""
        if self.cancelled():
            raise Cancelled("cancelled")

    def stage(self, step: Step, title: str) -> None:
        """One of the steps of transfer learning begins."""
        self.check()
        self.emit({"event": "stage", "step": step, "title": title})

    def warning(self, message: str) -> None:
        """Something the user should know that does not stop the work."""
        self.emit({"event": "warning", "message": message})

    def epoch(self, step: Step, number: int, of: int, metrics: dict[str, float]) -> None:
        """One pass over the training data ended."""
        self.emit({"event": "epoch", "step": step, "number": number, "of": of, "metrics": metrics})
        self.check()

    def advance(self, step: Step, done: int, total: int, unit: str) -> None:
        """`done` of `total` units are finished."""
        self.emit({"event": "progress", "step": step, "done": done, "total": total, "unit": unit})
        self.check()

    def track(
        self, items: Iterable[T], step: Step, total: int, unit: str, every_s: float = 0.1
    ) -> Iterator[T]:
        """Yield `items`, telling how many are done at most once per `every_s` seconds and at the end."""
        last = monotonic()
        for done, item in enumerate(items):
            self.check()
            if monotonic() - last >= every_s:
                last = monotonic()
                self.advance(step, done, total, unit)
            yield item
        self.advance(step, total, total, unit)
