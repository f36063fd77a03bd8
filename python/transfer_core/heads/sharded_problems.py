"""Loss of a linear layer over shards of the features, each of which computes its sums where it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from transfer_core.heads.coordinates import Coordinates
from transfer_core.heads.linear_problem import USUAL_EVALUATIONS, LinearProblems, Problems
from transfer_core.heads.rows import Rows
from transfer_core.heads.shards import Placed, ShardedFeatures
from transfer_core.tasks.criteria import Array, Criterion


@dataclass(frozen=True)
class ShardedProblems(Problems):
    """Problems over shards of the features: `placed` has the `LinearProblems` of the rows of each.

    `at.x` is `ShardedFeatures`; the other attributes are those of `LinearProblems`.
    """

    at: Coordinates
    targets: Array
    outputs: int
    share: Array
    check: Callable[[], None]
    criterion: Criterion
    placed: Placed

    @property
    def checks(self) -> int:
        """See `Problems`."""
        return USUAL_EVALUATIONS

    def loss(self, coefficients: Array) -> tuple[Array, Array]:
        """See `Problems.loss`."""
        self.check()
        found = self.placed.call("loss", [(coefficients,)] * len(self._features.shards.lengths))
        loss, gradient = np.zeros(len(coefficients)), np.zeros_like(coefficients)
        for own_loss, own_gradient in found:
            loss += own_loss
            gradient += own_gradient
        return loss, gradient

    def output(self, coefficients: Array, rows: Array) -> Array:
        """See `Problems.output`."""
        parts = self._features.divided(rows)
        found = self.placed.call("output", [(coefficients, own) for _, own in parts])
        outputs = np.empty((len(rows), len(coefficients)), self.at.x.dtype)
        for (places, _), part in zip(parts, found, strict=True):
            outputs[places] = part
        return outputs

    def curvature(self, coefficients: Array, rows: Array, share: Array) -> tuple[Array, np.floating[Any]]:
        """See `Problems.curvature`."""
        self.check()
        parts = self._features.divided(rows)
        found = self.placed.call("curvature", [(coefficients, own, share[places]) for places, own in parts])
        diagonals, of_biases = zip(*found, strict=True)
        return sum(diagonals[1:], diagonals[0]), sum(of_biases[1:], of_biases[0])

    @property
    def _features(self) -> ShardedFeatures:
        features: ShardedFeatures = self.at.x
        return features


def sharded_problems(
    rows: Rows,
    at: Coordinates,
    share: Array,
    outputs: int,
    check: Callable[[], None],
    label_weights: Array | None,
) -> ShardedProblems:
    """Return the problems with the `share` (B, N) of each row; see `LinearProblems`.

    The targets and shares of a shard are sent to it once.
    """
    features: ShardedFeatures = at.x
    of_all = replace(at, x=np.empty(0))
    arguments = [
        (
            *(of_all, rows.targets[first:end], outputs, share[:, first:end], _never, rows.criterion),
            None if label_weights is None else label_weights[first:end],
        )
        for first, end in pairwise(features.starts.tolist())
    ]
    placed = features.shards.place(_of_shard, arguments)
    return ShardedProblems(at, rows.targets, outputs, share, check, rows.criterion, placed)


def _of_shard(features: Array, at: Coordinates, *further: Any) -> LinearProblems:
    return LinearProblems(replace(at, x=features), *further)


def _never() -> None:
    """Do nothing: the process that solves the problems checks for cancellation."""
