"""Features in shards that are never gathered: each shard computes sums over its rows.

They are added in order. Whatever computes on the shards, one process or many, the result is the same to the
bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from transfer_core.tasks.criteria import Array


class Placed(Protocol):
    """An object per shard, where the shard is."""

    def call(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Call `method` of each object with its `arguments`; return the results in order."""


class Shards(Protocol):
    """Features (n, D) by shard, on this machine or others."""

    @property
    def lengths(self) -> Sequence[int]:
        """Rows per shard."""

    @property
    def width(self) -> int:
        """D."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the features."""

    def place(self, make: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> Placed:
        """Make an object per shard by `make(features, *arguments)`; both can be pickled."""


@dataclass(frozen=True)
class LocalShards:
    """Shards of this process, in memory or memory-mapped."""

    features: Sequence[Array]

    @property
    def lengths(self) -> list[int]:
        """See `Shards`."""
        return [len(part) for part in self.features]

    @property
    def width(self) -> int:
        """See `Shards`."""
        return int(self.features[0].shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """See `Shards`."""
        return self.features[0].dtype

    def place(self, make: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> Placed:
        """See `Shards.place`."""
        return _Here([make(part, *given) for part, given in zip(self.features, arguments, strict=True)])


@dataclass(frozen=True)
class _Here:
    objects: Sequence[Any]

    def call(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        pairs = zip(self.objects, arguments, strict=True)
        return [getattr(one, method)(*given) for one, given in pairs]


@dataclass(frozen=True)
class FeatureShard:
    """The features of one shard."""

    features: Array

    def apply(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return `function(features, *arguments)`."""
        return function(self.features, *arguments)

    def take(self, rows: Array) -> Array:
        """Return the rows with these numbers."""
        return np.asarray(self.features[rows])


@dataclass(frozen=True)
class ShardedFeatures:
    """Features (N, D) of all `shards`, one below the other; indexing gathers rows."""

    shards: Shards

    @cached_property
    def _placed(self) -> Placed:
        return self.shards.place(FeatureShard, [()] * len(self.shards.lengths))

    @cached_property
    def starts(self) -> Array:
        """Number of the first row of each shard, and N."""
        return np.concatenate([[0], np.cumsum(self.shards.lengths)])

    @property
    def shape(self) -> tuple[int, int]:
        """N and D."""
        return int(self.starts[-1]), self.shards.width

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the features."""
        return self.shards.dtype

    @property
    def itemsize(self) -> int:
        """Bytes of a number."""
        return self.dtype.itemsize

    @property
    def size(self) -> int:
        """Number of numbers."""
        return self.shape[0] * self.shape[1]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | Array) -> Array:
        numbers = np.arange(len(self))[rows]
        parts = self.divided(numbers)
        found = self._placed.call("take", [(own,) for _, own in parts])
        gathered = np.empty((len(numbers), self.shards.width), self.dtype)
        for (places, _), part in zip(parts, found, strict=True):
            gathered[places] = part
        return gathered

    def divided(self, rows: Array) -> list[tuple[Array, Array]]:
        """Divide numbers of rows by shard: their places in `rows`, and their numbers in the shard."""
        shard = np.searchsorted(self.starts, rows, side="right") - 1
        places = [np.flatnonzero(shard == number) for number in range(len(self.shards.lengths))]
        return [(own, rows[own] - self.starts[number]) for number, own in enumerate(places)]

    def sum(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return the sum of `function(features, *arguments)` over the shards."""
        first, *others = self._placed.call("apply", [(function, *arguments)] * len(self.shards.lengths))
        return sum(others, first)


def total(function: Callable[..., Any], features: Array | ShardedFeatures, *arguments: Any) -> Any:
    """Return `function(features, *arguments)`, a sum over rows, of an array or of shards."""
    if isinstance(features, ShardedFeatures):
        return features.sum(function, *arguments)
    return function(features, *arguments)
