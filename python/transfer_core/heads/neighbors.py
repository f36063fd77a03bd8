"""k-nearest neighbors as a head."""

from __future__ import annotations

import numpy as np

from transfer_core.heads.head import FittedLayer, outputs_of_votes
from transfer_core.heads.scaling import parts_of
from transfer_core.tasks.criteria import LABELS, VALUES, Array

_ROWS_AT_ONCE = 512


class Neighbors(FittedLayer):
    """Mean of the `votes` (M, K) of the `count` () nearest of `examples` (M, D): classes, labels or values.

    Features are standardized first: z = (x - mean) / scale. `kind` () is one of `outputs_of_votes`.
    """

    numbers = ("mean", "scale", "examples", "votes", "count", "kind")

    mean: Array
    scale: Array
    examples: Array
    votes: Array
    count: Array
    kind: Array

    def check(self, width: int, outputs: int) -> None:
        """See `Head`."""
        rows = len(self.votes) if self.votes.ndim else 0
        self._check_shape("mean", width)
        self._check_shape("scale", width)
        self._check_shape("examples", rows, width)
        self._check_shape("votes", rows, outputs)
        self._check_shape("count")
        self._check_shape("kind")
        self._check_range("count", 1, rows)
        self._check_range("kind", VALUES, LABELS)

    def __call__(self, features: Array) -> Array:
        """See `Head`."""
        none = np.zeros((0, self.votes.shape[1]), np.float32)
        return np.concatenate([none, *map(self._outputs, parts_of(features, _ROWS_AT_ONCE))])

    def _outputs(self, features: Array) -> Array:
        z = (features - self.mean) / self.scale
        count = int(self.count)
        # Squared distance without |z|², which is the same for all examples.
        distances = np.square(self.examples).sum(axis=1) - 2 * z @ self.examples.T
        nearest = np.argpartition(distances, count - 1, axis=1)[:, :count]
        shares = self.votes[nearest].mean(axis=1, dtype=np.float32)
        return outputs_of_votes(shares, count, int(self.kind))
