"""Support vector machines as a head: weighted sums of kernel values."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from transfer_core.heads.head import FittedLayer
from transfer_core.heads.scaling import parts_of
from transfer_core.tasks.criteria import Array

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

    mean: Array
    scale: Array
    support: Array
    gamma: Array
    dual: Array
    intercept: Array
    counts: Array

    def check(self, width: int, outputs: int) -> None:
        """See `Head`."""
        rows, pairs = len(self.support) if self.support.ndim else 0, outputs * (outputs - 1) // 2
        is_of_pairs = self.counts.size > 0
        self._check_shape("mean", width)
        self._check_shape("scale", width)
        self._check_shape("support", rows, width)
        self._check_shape("gamma")
        self._check_shape("counts", outputs if is_of_pairs else 0)
        self._check_shape("dual", rows, outputs - 1 if is_of_pairs else outputs)
        self._check_shape("intercept", pairs if is_of_pairs else outputs)
        if is_of_pairs:
            self._check_range("counts", 0, rows)

    def __call__(self, features: Array) -> Array:
        """See `Head`."""
        outputs = self._votes if len(self.counts) else self._margins
        none = np.zeros((0, len(self.counts) or len(self.intercept)), np.float32)
        parts = (outputs(self._kernel(part)) for part in parts_of(features, _ROWS_AT_ONCE))
        return np.concatenate([none, *(part.astype(np.float32) for part in parts)])

    def _kernel(self, features: Array) -> Array:
        """Return kernel values (N, S) float64."""
        z = (features - self.mean) / self.scale
        product: Array = (z @ self.support.T).astype(np.float64)
        gamma = float(self.gamma)
        if gamma == 0:
            return product
        lengths = np.square(z).sum(axis=1, keepdims=True), np.square(self.support).sum(axis=1)
        distances: Array = np.maximum(lengths[0] - 2 * product + lengths[1], 0)
        return np.exp(-gamma * distances)

    def _margins(self, kernel: Array) -> Array:
        """Return margins (N, K)."""
        margins: Array = kernel @ self.dual.astype(np.float64) + self.intercept
        return margins

    def _votes(self, kernel: Array) -> Array:
        """Return the number of pairs (N, K) that a class wins, plus a confidence below one third.

        This is scikit-learn's `decision_function` of the shape `ovr`; `SVC(break_ties=True)` predicts the
        class with the highest value.
        """
        classes = len(self.counts)
        wins, confidence = np.zeros((2, len(kernel), classes))
        for first, second, margins in self._pair_margins(kernel):
            won = margins >= 0
            wins[:, first] += won
            wins[:, second] += ~won
            confidence[:, first] += margins
            confidence[:, second] -= margins
        outputs: Array = wins + confidence / (3 * (np.abs(confidence) + 1))
        return outputs

    def _pair_margins(self, kernel: Array) -> Iterator[tuple[int, int, Array]]:
        """Yield both classes of a pair and its margins (N,), positive where the first class wins."""
        bounds = np.cumsum(self.counts)[:-1]
        dual = np.split(self.dual.astype(np.float64), bounds)
        # K times (N, K - 1): the share of a class's own support in the margins of its pairs.
        shares = [own @ weights for own, weights in zip(np.split(kernel, bounds, axis=1), dual, strict=True)]
        pairs = combinations(range(len(self.counts)), 2)
        for (i, j), intercept in zip(pairs, self.intercept.astype(np.float64), strict=True):
            yield i, j, shares[i][:, j - 1] + shares[j][:, i] + intercept
