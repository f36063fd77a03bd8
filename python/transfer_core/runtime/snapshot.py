"""Where a loop over epochs is: what it must be given to go on in another process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Snapshot:
    """The state after an epoch: `tensors` by name, and `facts`, plain data."""

    tensors: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


class Keeper(Protocol):
    """Keeps the state of one loop over epochs where it outlives the process."""

    def found(self) -> Snapshot | None:
        """What an earlier process has kept of this loop."""

    def keep(self, snapshot: Callable[[], Snapshot]) -> None:
        """Offered after each epoch; asks for the state only if it is going to be kept."""


class KeepNothing:
    """A loop that always begins anew."""

    def found(self) -> Snapshot | None:
        """Nothing."""
        return None

    def keep(self, snapshot: Callable[[], Snapshot]) -> None:
        """Does nothing."""
