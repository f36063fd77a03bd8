"""Ensembles of decision trees as layers, with all trees evaluated together."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from transfer_core.heads.fitted_layer import FittedLayer, outputs_of_votes
from transfer_core.tasks.criteria import LABELS, VALUES

# Upper bound of `depth`: every example takes as many steps as the longest path.
_DEEPEST = 100_000

# Examples times trees that are evaluated together.
_PLACES_AT_ONCE = 1 << 20


class Trees(FittedLayer):
    """Base of ensembles of T trees.

    The nodes of all trees are concatenated. From node n, an example with `feature[n]` at most `threshold[n]`
    goes to `left[n]`, otherwise to `right[n]`; a leaf leads to itself, and `leaf[n]` is its number. `roots`
    (T,) are the first nodes of the trees, `depth` () is the number of steps of the longest path.
    """

    numbers: ClassVar[tuple[str, ...]] = ("feature", "threshold", "left", "right", "leaf", "roots", "depth")

    feature: Tensor
    threshold: Tensor
    left: Tensor
    right: Tensor
    leaf: Tensor
    roots: Tensor
    depth: Tensor
    values: Tensor

    def check(self, width: int, outputs: int) -> None:
        """See `FittedLayer`."""
        nodes = len(self.threshold)
        for name in ("feature", "threshold", "left", "right", "leaf"):
            self._check_shape(name, nodes)
        self._check_shape("roots", *self.roots.shape[:1])
        self._check_shape("depth")
        self._check_range("feature", 0, width - 1)
        for name in ("left", "right", "roots"):
            self._check_range(name, 0, nodes - 1)
        self._check_range("leaf", 0, max(0, len(self.values) - 1))
        self._check_range("depth", 0, _DEEPEST)

    def leaves(self, features: Tensor) -> Tensor:
        """Return the leaf of each example in each tree, (N, T) int64, for features (N, D)."""
        node = self.roots.long().expand(len(features), -1)
        for _ in range(min(int(self.depth), len(self.feature))):
            goes_left = features.gather(1, self.feature[node].long()) <= self.threshold[node]
            node = torch.where(goes_left, self.left[node], self.right[node]).long()
        return self.leaf[node].long()

    def forward(self, features: Tensor) -> Tensor:
        """Return outputs (N, K) for features (N, D)."""
        at_once = max(1, _PLACES_AT_ONCE // max(1, len(self.roots)))
        parts = [self.outputs(self.leaves(part)) for part in torch.split(features, at_once)]
        return torch.cat(parts).float()

    def outputs(self, leaves: Tensor) -> Tensor:
        """Return outputs (N, K) for leaves (N, T)."""
        raise NotImplementedError


class Forest(Trees):
    """Mean over trees of `values` (leaves, K): shares of votes, or numbers.

    `kind` () is one of `outputs_of_votes`.
    """

    numbers = (*Trees.numbers, "values", "kind")

    kind: Tensor

    def check(self, width: int, outputs: int) -> None:
        """See `FittedLayer`."""
        self._check_shape("values", *self.values.shape[:1], outputs)
        self._check_shape("kind")
        self._check_range("kind", VALUES, LABELS)
        super().check(width, outputs)

    def outputs(self, leaves: Tensor) -> Tensor:
        """See `Trees`."""
        shares = embedding_bag(leaves, self.values, mode="mean")
        return outputs_of_votes(shares, leaves.shape[1], int(self.kind))


class Boosted(Trees):
    """Sum over trees of `values` (leaves,) per output `column` (T,), added to `baseline` (K,)."""

    numbers = (*Trees.numbers, "values", "column", "baseline")

    column: Tensor
    baseline: Tensor

    def check(self, width: int, outputs: int) -> None:
        """See `FittedLayer`."""
        self._check_shape("values", *self.values.shape[:1])
        self._check_shape("baseline", outputs)
        self._check_shape("column", *self.roots.shape[:1])
        self._check_range("column", 0, outputs - 1)
        super().check(width, outputs)

    def outputs(self, leaves: Tensor) -> Tensor:
        """See `Trees`."""
        outputs = self.baseline.repeat(len(leaves), 1)
        return outputs.index_add(1, self.column.long(), self.values[leaves])
