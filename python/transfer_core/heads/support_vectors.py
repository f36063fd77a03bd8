"""Support vector machines as a layer: weighted sums of kernel values."""

from __future__ import annotations

import torch
from torch import Tensor

from transfer_core.heads.fitted_layer import FittedLayer

_ROWS_AT_ONCE = 512


class SupportVectors(FittedLayer):
    """Kernel values with `support` (S, D), weighted by `dual`: RBF exp(-gamma |z - s|²), or linear z · s.

    The kernel is linear if `gamma` () is 0. Features are standardized first: z = (x - mean) / scale. If
    `counts` is empty, there is a machine per output: `dual` (S, K) and `intercept` (K,). Otherwise there is
    one per pair of K classes (one-vs-one), as in libsvm: the support is sorted by class, `counts` (K,) of
    each; column j of `dual` (S, K - 1) belongs to the pair with the j-th of the other classes; `intercept`
    has one number per pair, 0-1, 0-2, …, 1-2, ….
    """

    numbers = ("mean", "scale", "support", "gamma", "dual", "intercept", "counts")

    mean: Tensor
    scale: Tensor
    support: Tensor
    gamma: Tensor
    dual: Tensor
    intercept: Tensor
    counts: Tensor

    def check(self, width: int, outputs: int) -> None:
        """See `FittedLayer`."""
        rows, pairs = len(self.support) if self.support.dim() else 0, outputs * (outputs - 1) // 2
        is_of_pairs = self.counts.numel() > 0
        self._check_shape("mean", width)
        self._check_shape("scale", width)
        self._check_shape("support", rows, width)
        self._check_shape("gamma")
        self._check_shape("counts", outputs if is_of_pairs else 0)
        self._check_shape("dual", rows, outputs - 1 if is_of_pairs else outputs)
        self._check_shape("intercept", pairs if is_of_pairs else outputs)
        if is_of_pairs:
            self._check_range("counts", 0, rows)

    def forward(self, features: Tensor) -> Tensor:
        """Return outputs (N, K) for features (N, D)."""
        outputs = self._votes if len(self.counts) else self._margins
        parts = [outputs(self._kernel(part)) for part in torch.split(features, _ROWS_AT_ONCE)]
        return torch.cat(parts).float()

    def _kernel(self, features: Tensor) -> Tensor:
        """Return kernel values (N, S) float64."""
        z = (features - self.mean) / self.scale
        product = (z @ self.support.T).double()
        if float(self.gamma) == 0:
            return product
        lengths = z.square().sum(dim=1, keepdim=True), self.support.square().sum(dim=1)
        distances = lengths[0] - 2 * product + lengths[1]
        return torch.exp(-self.gamma.double() * distances.clamp_min(0))

    def _margins(self, kernel: Tensor) -> Tensor:
        """Return margins (N, K)."""
        margins: Tensor = kernel @ self.dual.double() + self.intercept.double()
        return margins

    def _votes(self, kernel: Tensor) -> Tensor:
        """Return the number of pairs (N, K) that a class wins, plus a confidence below one third.

        This is scikit-learn's `decision_function` of the shape `ovr`; `SVC(break_ties=True)` predicts the
        class with the highest value.
        """
        margins = self._pair_margins(kernel)
        classes = len(self.counts)
        first, second = torch.triu_indices(classes, classes, offset=1)
        won = (margins >= 0).double()
        wins, confidence = margins.new_zeros(2, len(margins), classes)
        wins.index_add_(1, first, won).index_add_(1, second, 1 - won)
        confidence.index_add_(1, first, margins).index_add_(1, second, -margins)
        outputs: Tensor = wins + confidence / (3 * (confidence.abs() + 1))
        return outputs

    def _pair_margins(self, kernel: Tensor) -> Tensor:
        """Return margins (N, K (K - 1) / 2), positive where the first class of a pair wins."""
        counts = self.counts.tolist()
        own_kernel, dual = torch.split(kernel, counts, dim=1), torch.split(self.dual.double(), counts)
        # K times (N, K - 1): the share of a class's own support in the margins of its pairs.
        shares = [own @ weights for own, weights in zip(own_kernel, dual, strict=True)]
        first, second = torch.triu_indices(len(counts), len(counts), offset=1).tolist()
        pairs = [shares[i][:, j - 1] + shares[j][:, i] for i, j in zip(first, second, strict=True)]
        return torch.stack(pairs, dim=1) + self.intercept.double()
