"""What waits for the network of one model, and what comes of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from transfer_core.worker.serving_request import Asked

if TYPE_CHECKING:
    from transfer_core.model.model import Model


class Loaded(NamedTuple):
    """An input that can go through the network, loaded at the time `since`."""

    asked: Asked
    number: int
    content: Any
    since: float


@dataclass(frozen=True)
class Failed:
    """Takes the place of what is told of an input."""

    error: BaseException


class Line:
    """Up to `size` inputs go through the network together, in up to `at_once` passes at the same time."""

    def __init__(self, size: int, at_once: int) -> None:
        self.running = 0
        self.loaded: deque[Loaded] = deque()
        self._size = size
        self._at_once = at_once

    @property
    def since(self) -> float:
        """Since when the first input waits."""
        return self.loaded[0].since

    def can_start(self) -> bool:
        """Whether a pass can be made."""
        return bool(self.loaded) and self.running < self._at_once

    def is_full(self) -> bool:
        """Whether there is enough for a pass."""
        return len(self.loaded) >= self._size

    def is_far_ahead(self) -> bool:
        """Whether nothing more should be loaded before another pass begins."""
        return self.running == self._at_once and len(self.loaded) >= 2 * self._size

    def take(self) -> list[Loaded]:
        """What goes through the network next."""
        self.running += 1
        return [self.loaded.popleft() for _ in range(min(self._size, len(self.loaded)))]


def tell_all(model: Model, loaded: Sequence[Loaded]) -> list[Any]:
    """What is told of each input, by one forward pass; or if that fails by one for each request, so that only
    that fails whose fault it is."""
    try:
        embeddings = model.embed_loads([partial(_content, each) for each in loaded])
        told: list[Any] = [None] * len(loaded)
        for tell in {each.asked.tell for each in loaded}:
            rows = [row for row, each in enumerate(loaded) if each.asked.tell is tell]
            for row, what in zip(rows, tell(model, embeddings[rows]), strict=True):
                told[row] = what
        return told
    except BaseException as error:
        requests: dict[int, list[int]] = {}
        for row, each in enumerate(loaded):
            requests.setdefault(id(each.asked), []).append(row)
        if len(requests) == 1:
            return [Failed(error)] * len(loaded)
        told = [None] * len(loaded)
        for rows in requests.values():
            for row, what in zip(rows, tell_all(model, [loaded[row] for row in rows]), strict=True):
                told[row] = what
        return told


def _content(loaded: Loaded) -> Any:
    return loaded.content
