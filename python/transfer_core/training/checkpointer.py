"""Save and load the state of a training loop between epochs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Snapshot:
    """State of a training loop after an epoch: `tensors` by name, and `facts`, plain data."""

    tensors: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


class Checkpointer(Protocol):
    """Storage for the state of one training loop that outlives the process."""

    def load(self) -> Snapshot | None:
        """Return the state that an interrupted process saved, or None to start from the beginning."""

    def save(self, snapshot: Callable[[], Snapshot]) -> None:
        """Save the state after an epoch, or skip it; `snapshot` is called only to save."""


class NoCheckpoints:
    """A checkpointer that neither loads nor saves."""

    def load(self) -> Snapshot | None:
        """Return None."""
        return None

    def save(self, snapshot: Callable[[], Snapshot]) -> None:
        """Do nothing."""


NO_CHECKPOINTS = NoCheckpoints()
