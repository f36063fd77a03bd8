"""Rows that a head is fitted on: features, targets and weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from transfer_core.tasks import Criterion


@dataclass(frozen=True)
class Rows:
    """The rows of a fit.

    Attributes
    ----------
    features
        (N, D) float32.
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

    features: Tensor
    targets: Tensor
    weights: Tensor
    groups: Tensor
    criterion: Criterion
    fold_groups: Tensor | None = None

    @property
    def folded_by(self) -> Tensor:
        """Fold group of each row, (N,) int64: equal for rows that share a fold."""
        return self.groups if self.fold_groups is None else self.fold_groups

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def example_weights(self) -> Tensor:
        """Weight of each row as a whole, (N,)."""
        return self.weights if self.weights.ndim == 1 else torch.ones(len(self))

    def take(self, indices: Tensor) -> Rows:
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
            torch.cat([self.targets, other.targets]),
            torch.cat([self.weights, other.weights]),
            torch.cat([self.groups, other.groups + first_free]),
            self.criterion,
            torch.cat([self.folded_by, other.folded_by + first_fold]),
        )


def _stacked(above: Tensor, below: Tensor) -> Tensor:
    """Concatenate `above` (N, D) and `below` (M, D); tensors adjacent in memory are not copied."""
    if above.is_contiguous() and below.is_contiguous() and _end(above) == below.data_ptr() and len(below):
        size = (len(above) + len(below), above.shape[1])
        return above.as_strided(size, above.stride())
    return torch.cat([above, below])


def _end(tensor: Tensor) -> int:
    return tensor.data_ptr() + tensor.numel() * tensor.element_size()


def rows_of(
    features: Tensor,
    targets: np.ndarray,
    weights: Tensor,
    criterion: Criterion,
    views: int = 1,
    groups: Sequence[str] = (),
) -> Rows:
    """Return rows for `features` (N * views, D), in which the views of an example are adjacent.

    `targets`, `weights` and `groups` are per example; examples of a group share a fold.
    """
    examples = torch.arange(len(targets)).repeat_interleave(views)
    numbers: dict[str, int] = {}
    shared = torch.tensor([numbers.setdefault(group, len(numbers)) for group in groups], dtype=torch.int64)
    folds = shared[examples] if groups else None
    return Rows(features, torch.from_numpy(targets)[examples], weights[examples], examples, criterion, folds)
