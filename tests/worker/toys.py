"""Models without a network, for tests of who is computed with whom: the inputs say what is to happen."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from transfer_core.runtime.errors import DataError
from transfer_core.runtime.progress import Progress

PATIENCE_S = 10.0


@dataclass(eq=False)
class Toy:
    """An input is a number, which is its embedding; `bad` can't be loaded, `poison` not computed with.

    Of `gates`, an event for an input or for `pass`, each has to be set before that input is loaded, or before
    anything is computed.
    """

    batch_size: int = 4
    concurrent: bool = True
    gates: dict[Any, threading.Event] = field(default_factory=dict)
    loaded: list[Any] = field(default_factory=list)
    passes: list[list[Any]] = field(default_factory=list)
    most_at_once: int = 0
    _running: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def load(self, number: int, input: Any, of: int) -> Any:
        self._wait_for(input)
        self.loaded.append(input)
        if input == "bad":
            raise DataError(f"image {number + 1} of {of}: bad")
        return input

    def compute_all(self, loads: Sequence[Callable[[], Any]]) -> Any:
        contents = [load() for load in loads]
        with self._lock:
            self._running += 1
            self.most_at_once = max(self.most_at_once, self._running)
            self.passes.append(contents)
        try:
            self._wait_for("pass")
            if "poison" in contents:
                raise ValueError("poison")
            return np.array([[content] for content in contents], np.float32).reshape(-1, 1)
        finally:
            with self._lock:
                self._running -= 1

    @property
    def predictor(self) -> Toy:
        return self

    def running(self) -> None:
        """It computes at once."""

    def embeddings(self, computed: Any) -> Any:
        return computed

    def embed(self, inputs: Sequence[Any]) -> Any:
        assert not inputs
        return np.empty((0, 1), np.float32)

    def predictions(
        self, computed: Any, level: float | None = None, min_score: float | None = None
    ) -> list[dict[str, float]]:
        return [{"value": float(embedding[0])} for embedding in computed]

    def _wait_for(self, name: Any) -> None:
        if gate := self.gates.get(name):
            assert gate.wait(PATIENCE_S)


class StepToy(Toy):
    """An input is the number of its steps, which is its embedding; `step` of the gates is for each step."""

    def running(self) -> Any:
        toy, left = self, {}

        class Running:
            def join(self, loaded: Sequence[int]) -> list[object]:
                keys = [object() for _ in loaded]
                left.update({key: [steps, steps] for key, steps in zip(keys, loaded, strict=True)})
                return keys

            def step(self) -> list[tuple[object, list[float]]]:
                toy._wait_for("step")
                toy.passes.append([steps for steps, _ in left.values()])
                if "poison" in toy.passes[-1]:
                    raise ValueError("poison")
                for each in left.values():
                    each[1] -= 1
                done = [key for key, (_, steps) in left.items() if steps <= 0]
                return [(key, [float(left.pop(key)[0])]) for key in done]

            def drop(self, keys: Any) -> None:
                for key in keys:
                    left.pop(key)

        return Running()


class Caller:
    """What a method sees of its caller."""

    def __init__(self) -> None:
        self.is_cancelled = False
        self.warnings: list[str] = []
        self.progress = Progress(
            lambda event: self.warnings.append(event["message"]), lambda: self.is_cancelled
        )

    def cancel(self, promise: Future[Any]) -> None:
        self.is_cancelled = True
        promise.cancel()
