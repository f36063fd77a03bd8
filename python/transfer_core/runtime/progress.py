"""How a long call tells the outside what it is doing, hears that it should stop, and leaves where it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Any, Literal, TypeVar

from transfer_core.runtime.errors import Cancelled, shortened
from transfer_core.runtime.snapshot import Keeper, KeepNothing

Step = Literal["choose", "freeze", "head", "train", "fine_tune", "evaluate"]
Event = dict[str, Any]
T = TypeVar("T")


_KEEP_NOTHING = KeepNothing()


def _ignore(event: Event) -> None:
    """Nobody is listening."""


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Progress:
    """Two callbacks, `emit` takes events, `cancelled` says whether the user wants to stop; and a `keeper` for
    the state of a loop over epochs.

    Events are plain dicts with the key `event`, one of `run`, `stage`, `progress`, `epoch`, `warning`
    and, of a training, `overall`.
    """

    emit: Callable[[Event], None] = _ignore
    cancelled: Callable[[], bool] = _never
    keeper: Keeper = _KEEP_NOTHING

    def check(self) -> None:
        """Raise `Cancelled` if the user asked to stop."""
        if self.cancelled():
            raise Cancelled("cancelled")

    def run(self, id: str, path: str, history: list[dict[str, Any]]) -> None:
        """A run has its folder; `history` are the epochs that an earlier process has finished."""
        self.emit({"event": "run", "id": id, "path": path, "history": history})

    def stage(self, step: Step, title: str) -> None:
        """One of the steps of transfer learning begins."""
        self.check()
        self.emit({"event": "stage", "step": step, "title": title})

    def warning(self, message: str) -> None:
        """Something the user should know that does not stop the work."""
        self.emit({"event": "warning", "message": shortened(message)})

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
