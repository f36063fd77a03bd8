"""k-nearest neighbors as a layer."""

from __future__ import annotations

import torch
from torch import Tensor

from transfer_core.heads.fitted_layer import FittedLayer, outputs_of_votes
from transfer_core.tasks.criteria import LABELS, VALUES

_ROWS_AT_ONCE = 512


class Neighbors(FittedLayer):
    """Mean of the `votes` (M, K) of the `count` () nearest of `examples` (M, D): classes, labels or values.

    Features are standardized first: z = (x - mean) / scale. `kind` () is one of `outputs_of_votes`.
    """

    numbers = ("mean", "scale", "examples", "votes", "count", "kind")

    mean: Tensor
    scale: Tensor
    examples: Tensor
    votes: Tensor
    count: Tensor
    kind: Tensor

    def check(self, width: int, outputs: int) -> None:
        """See `FittedLayer`."""
        rows = len(self.votes) if self.votes.dim() else 0
        self._check_shape("mean", width)
        self._check_shape("scale", width)
        self._check_shape("examples", rows, width)
        self._check_shape("votes", rows, outputs)
        self._check_shape("count")
        self._check_shape("kind")
        self._check_range("count", 1, rows)
        self._check_range("kind", VALUES, LABELS)

    def forward(self, features: Tensor) -> Tensor:
        """Return outputs (N, K) for features (N, D)."""
        return torch.cat([self._outputs(part) for part in torch.split(features, _ROWS_AT_ONCE)])

    def _outputs(self, features: Tensor) -> Tensor:
        z = (features - self.mean) / self.scale
        # Squared distance without |z|², which is the same for all examples.
        distances = self.examples.square().sum(dim=1) - 2 * z @ self.examples.T
        nearest = distances.topk(int(self.count), dim=1, largest=False).indices
        shares = self.votes[nearest].float().mean(dim=1)
        return outputs_of_votes(shares, int(self.count), int(self.kind))
