"""Batch queue of one model: loaded inputs in, one result or error per input out."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from transfer_core.worker.serving_request import PendingRequest

if TYPE_CHECKING:
    from transfer_core.model.model import Model
    from transfer_core.model.predictor import RunningInputs


@dataclass(frozen=True, eq=False)
class LoadedInput:
    """An input ready for the forward pass, loaded at the monotonic time `since`, in seconds."""

    request: PendingRequest
    number: int
    content: Any
    since: float


@dataclass(frozen=True)
class Failure:
    """Error in place of the result of an input."""

    error: BaseException


class BatchQueue:
    """Queue for batches of up to `size` inputs, in up to `at_once` concurrent forward passes."""

    def __init__(self, size: int, at_once: int) -> None:
        self.running = 0
        self.loaded: deque[LoadedInput] = deque()
        self.size = size
        self._at_once = at_once

    @property
    def since(self) -> float:
        """Monotonic time in seconds at which the oldest input was loaded."""
        return self.loaded[0].since

    def can_start(self) -> bool:
        """Whether there is an input and a free slot for a forward pass."""
        return bool(self.loaded) and self.running < self._at_once

    def is_full(self) -> bool:
        """Whether a full batch is loaded."""
        return len(self.loaded) >= self.size

    def is_saturated(self) -> bool:
        """Whether two batches are loaded and all slots are busy: load no more."""
        return self.running == self._at_once and len(self.loaded) >= 2 * self.size

    def take(self, count: int) -> list[LoadedInput]:
        """Remove and return up to `count` inputs."""
        return [self.loaded.popleft() for _ in range(min(count, len(self.loaded)))]


class RunningBatch:
    """Inputs of several requests in a computation in steps (`Predictor.running`)."""

    def __init__(self, model: Model, running: RunningInputs | None) -> None:
        self.largest = 0
        self._model = model
        self._running = running
        self._inputs: dict[Hashable, LoadedInput] = {}

    @property
    def inputs(self) -> Collection[LoadedInput]:
        """Unfinished inputs."""
        return self._inputs.values()

    def step(self, joining: Sequence[LoadedInput]) -> tuple[list[LoadedInput], list[Any]]:
        """Add inputs and compute a step; returns finished inputs, and a result or a `Failure` for each.

        If it fails, all inputs are computed by `predict_batch`.
        """
        assert self._running
        try:
            keys = self._running.join([each.content for each in joining]) if joining else ()
            self._inputs |= dict(zip(keys, joining, strict=True))
            self.largest = max(self.largest, len(self._inputs))
            finished = self._running.step() if self._inputs else ()
        except BaseException:
            every = list(dict.fromkeys((*self._inputs.values(), *joining)))
            self._inputs = {}
            self._running = self._model.predictor.running()
            return every, predict_batch(self._model, every)
        loaded = [self._inputs.pop(key) for key, _ in finished]
        return loaded, [self._outcome(*each) for each in zip(loaded, (r for _, r in finished), strict=True)]

    def drop(self, unwanted: Collection[LoadedInput]) -> None:
        """Remove inputs."""
        assert self._running
        if keys := {key for key, each in self._inputs.items() if each in unwanted}:
            self._running.drop(keys)
            self._inputs = {key: each for key, each in self._inputs.items() if key not in keys}

    def _outcome(self, loaded: LoadedInput, computed: Any) -> Any:
        try:
            return loaded.request.predict(self._model, [computed])[0]
        except BaseException as error:
            return Failure(error)


def predict_batch(model: Model, loaded: Sequence[LoadedInput]) -> list[Any]:
    """Return a result or a `Failure` per input, by one forward pass.

    If the pass fails, repeat it for each request alone: only the request that caused the failure fails.
    """
    try:
        computed = model.compute_all([partial(_content, each) for each in loaded])
        outcomes: list[Any] = [None] * len(loaded)
        for predict in {each.request.predict for each in loaded}:
            rows = [row for row, each in enumerate(loaded) if each.request.predict is predict]
            for row, outcome in zip(rows, predict(model, [computed[row] for row in rows]), strict=True):
                outcomes[row] = outcome
        return outcomes
    except BaseException as error:
        requests: dict[int, list[int]] = {}
        for row, each in enumerate(loaded):
            requests.setdefault(id(each.request), []).append(row)
        if len(requests) == 1:
            return [Failure(error)] * len(loaded)
        outcomes = [None] * len(loaded)
        for rows in requests.values():
            for row, outcome in zip(rows, predict_batch(model, [loaded[row] for row in rows]), strict=True):
                outcomes[row] = outcome
        return outcomes


def _content(loaded: LoadedInput) -> Any:
    return loaded.content
