"""Decision trees, all of them walked down at the same time."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from transfer_core.heads.fitted_layer import FittedLayer, outputs_of_votes

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

    values: Tensor
    kind: Tensor

    def outputs(self, leaves: Tensor) -> Tensor:
        """See `Trees`."""
        shares = embedding_bag(leaves, self.values, mode="mean")
        return outputs_of_votes(shares, leaves.shape[1], int(self.kind))


class Boosted(Trees):
    """Trees add up: `values` (leaves,) to the output `column` (T,) that a tree is for, on `baseline` (K,)."""

    numbers = (*Trees.numbers, "values", "column", "baseline")

    values: Tensor
    column: Tensor
    baseline: Tensor

    def outputs(self, leaves: Tensor) -> Tensor:
        """See `Trees`."""
        outputs = self.baseline.repeat(len(leaves), 1)
        return outputs.index_add(1, self.column.long(), self.values[leaves])
