"""Decision trees, all of them walked down at the same time."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from transfer_core.heads.fitted_layer import FittedLayer, outputs_of_votes
from transfer_core.tasks.criteria import LABELS, VALUES

# Steps that the longest way takes: as many are taken for every example.
_DEEPEST = 100_000

# Places in trees that are looked at together.
_PLACES_AT_ONCE = 1 << 20


class Trees(FittedLayer):
    """Which leaf of each tree an example comes to.

    Nodes of all trees stand one after the other. From node n an example whose feature `feature[n]` is at most
    `threshold[n]` goes to `left[n]`, any other to `right[n]`; a leaf leads to itself, and `leaf[n]` is its
    number. `roots` (T,) are where trees begin, `depth` () the steps that the longest way takes.
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
        """(N, D) -> (N, T) int64."""
        node = self.roots.long().expand(len(features), -1)
        for _ in range(min(int(self.depth), len(self.feature))):
            goes_left = features.gather(1, self.feature[node].long()) <= self.threshold[node]
            node = torch.where(goes_left, self.left[node], self.right[node]).long()
        return self.leaf[node].long()

    def forward(self, features: Tensor) -> Tensor:
        """(N, D) -> (N, K)."""
        at_once = max(1, _PLACES_AT_ONCE // max(1, len(self.roots)))
        parts = [self.outputs(self.leaves(part)) for part in torch.split(features, at_once)]
        return torch.cat(parts).float()

    def outputs(self, leaves: Tensor) -> Tensor:
        """(N, T) -> (N, K)."""
        raise NotImplementedError


class Forest(Trees):
    """Each tree votes; `values` (leaves, K) are the shares of its vote, or values that are averaged.

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
    """Trees add up: `values` (leaves,) to the output `column` (T,) that a tree is for, on `baseline` (K,)."""

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
