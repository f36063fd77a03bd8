"""Rows that a head is fitted on: features, targets and weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from transfer_core.tasks.criteria import Array, Criterion


@dataclass(frozen=True)
class Rows:
    """The rows of a fit.

    Attributes
    ----------
    features
        (N, D) float32, an array or `ShardedFeatures`.
    targets
        (N,) or (N, K), as `criterion` takes them.
    weights
        (N,) float32, or (N, K) where each label has its own.
    groups
        (N,) int64, equal for the views of one example.
    criterion
        The loss.
    fold_groups
        (N,) int64, equal for rows that share a fold; by default `groups`.
    """

    features: Any
    targets: Array
    weights: Array
    groups: Array
    criterion: Criterion
    fold_groups: Array | None = None

    @property
    def folded_by(self) -> Array:
        """Fold group of each row, (N,) int64: equal for rows that share a fold."""
        return self.groups if self.fold_groups is None else self.fold_groups

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def example_weights(self) -> Array:
        """Weight of each row as a whole, (N,)."""
        return self.weights if self.weights.ndim == 1 else np.ones(len(self), np.float32)

    def take(self, indices: Array) -> Rows:
        """Return the rows at `indices`."""
        return Rows(
            self.features[indices],
            self.targets[indices],
            self.weights[indices],
            self.groups[indices],
            self.criterion,
            self.folded_by[indices],
        )

    def joined(self, other: Rows) -> Rows:
        """Return these rows and `other`, which are of different examples."""
        first_free = int(self.groups.max()) + 1 if len(self) else 0
        first_fold = int(self.folded_by.max()) + 1 if len(self) else 0
        return Rows(
            _stacked(self.features, other.features),
            np.concatenate([self.targets, other.targets]),
            np.concatenate([self.weights, other.weights]),
            np.concatenate([self.groups, other.groups + first_free]),
            self.criterion,
            np.concatenate([self.folded_by, other.folded_by + first_fold]),
        )


def _stacked(above: Array, below: Array) -> Array:
    """Concatenate `above` (N, D) and `below` (M, D); adjacent parts of one array are not copied."""
    whole = above.base
    parts = (above, below)
    if whole is None or whole is not below.base or not all(part.flags.c_contiguous for part in parts):
        return np.concatenate(parts)
    if not len(below) or above.ctypes.data + above.nbytes != below.ctypes.data:
        return np.concatenate(parts)
    return np.lib.stride_tricks.as_strided(
        above, (len(above) + len(below), above.shape[1]), writeable=above.flags.writeable
    )


def rows_of(
    features: Array,
    targets: Array,
    weights: Array,
    criterion: Criterion,
    views: int = 1,
    groups: Sequence[str] = (),
) -> Rows:
    """Return rows for `features` (N * views, D), in which the views of an example are adjacent.

    `targets`, `weights` and `groups` are per example; examples of a group share a fold.
    """
    examples = np.arange(len(targets)).repeat(views)
    numbers: dict[str, int] = {}
    shared = np.array([numbers.setdefault(group, len(numbers)) for group in groups], np.int64)
    folds = shared[examples] if groups else None
    return Rows(features, targets[examples], weights[examples], examples, criterion, folds)
