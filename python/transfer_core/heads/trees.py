"""Ensembles of decision trees as heads, with all trees evaluated together."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from transfer_core.heads.head import FittedLayer, outputs_of_votes
from transfer_core.heads.scaling import parts_of
from transfer_core.tasks.criteria import LABELS, VALUES, Array

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

    feature: Array
    threshold: Array
    left: Array
    right: Array
    leaf: Array
    roots: Array
    depth: Array
    values: Array

    def check(self, width: int, outputs: int) -> None:
        """See `Head`."""
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

    def leaves(self, features: Array) -> Array:
        """Return the leaf of each example in each tree, (N, T), for features (N, D)."""
        node = np.broadcast_to(self.roots, (len(features), len(self.roots)))
        examples = np.arange(len(features))[:, None]
        for _ in range(min(int(self.depth), len(self.feature))):
            goes_left = features[examples, self.feature[node]] <= self.threshold[node]
            node = np.where(goes_left, self.left[node], self.right[node])
        leaves: Array = self.leaf[node]
        return leaves

    def __call__(self, features: Array) -> Array:
        """See `Head`."""
        at_once = max(1, _PLACES_AT_ONCE // max(1, len(self.roots)))
        parts = [self.outputs(self.leaves(part)) for part in parts_of(features, at_once)]
        return np.concatenate(parts or [self.outputs(self.leaves(features))]).astype(np.float32)

    def outputs(self, leaves: Array) -> Array:
        """Return outputs (N, K) for leaves (N, T)."""
        raise NotImplementedError


class Forest(Trees):
    """Mean over trees of `values` (leaves, K): shares of votes, or numbers.

    `kind` () is one of `outputs_of_votes`.
    """

    numbers = (*Trees.numbers, "values", "kind")

    kind: Array

    def check(self, width: int, outputs: int) -> None:
        """See `Head`."""
        self._check_shape("values", *self.values.shape[:1], outputs)
        self._check_shape("kind")
        self._check_range("kind", VALUES, LABELS)
        super().check(width, outputs)

    def outputs(self, leaves: Array) -> Array:
        """See `Trees`."""
        shares = self.values[leaves].mean(axis=1)
        return outputs_of_votes(shares, leaves.shape[1], int(self.kind))


class Boosted(Trees):
    """Sum over trees of `values` (leaves,) per output `column` (T,), added to `baseline` (K,)."""

    numbers = (*Trees.numbers, "values", "column", "baseline")

    column: Array
    baseline: Array

    def check(self, width: int, outputs: int) -> None:
        """See `Head`."""
        self._check_shape("values", *self.values.shape[:1])
        self._check_shape("baseline", outputs)
        self._check_shape("column", *self.roots.shape[:1])
        self._check_range("column", 0, outputs - 1)
        super().check(width, outputs)

    def outputs(self, leaves: Array) -> Array:
        """See `Trees`."""
        outputs = np.tile(self.baseline.astype(np.float64), (len(leaves), 1))
        for tree, column in enumerate(self.column):
            outputs[:, column] += self.values[leaves[:, tree]]
        return outputs
