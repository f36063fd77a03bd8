"""Kernel mean matching: weights with which the source has the target's mean in a kernel's feature space."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from transfer_core.kinds.arrays import Floats, domains, some_rows
from transfer_core.kinds.kernels import median_gamma, nystrom, rbf

# Source rows up to which the kernel matrix is held in memory (64 MB); of more, its Nyström features are.
_WHOLE_KERNEL = 4096
_LANDMARKS = 512
_TARGET_CHUNK = 4096
_ITERATIONS = 500
_TOLERANCE = 1e-5


def kmm(
    source: npt.ArrayLike,
    target: npt.ArrayLike,
    gamma: float | None = None,
    limit: float = 1000.0,
    slack: float | None = None,
    seed: int = 0,
) -> npt.NDArray[np.float64]:
    """Weight source examples by kernel mean matching.

    Minimizes ½ βᵀKβ - κᵀβ over 0 ≤ β ≤ `limit` and |mean β - 1| ≤ `slack`, with the RBF kernel K of the
    source rows and κ_i = (N / M) Σ_j k(x_i, t_j), by accelerated projected gradients. Above 4,096 source rows
    K is a Nyström approximation from 512 of them.

    Parameters
    ----------
    source, target
        (N, D) and (M, D) features.
    gamma
        exp(-gamma |x - y|²). Default: 1 / median squared distance.
    limit
        The largest weight.
    slack
        Default: (√N - 1) / √N.
    seed
        Seed of the sampled rows.

    Returns
    -------
    Weights (N,).

    References
    ----------
    Huang, Smola, Gretton, Borgwardt and Schölkopf, Correcting Sample Selection Bias by Unlabeled Data,
    NIPS 2006 (published 2007), equation 12.
    """
    source, target = domains(source, target)
    gamma = median_gamma(source, target, seed) if gamma is None else gamma
    rows = len(source)
    slack = (np.sqrt(rows) - 1) / np.sqrt(rows) if slack is None else slack
    multiply = _multiplication(source, gamma, seed)
    linear = np.zeros(rows)
    for start in range(0, len(target), _TARGET_CHUNK):
        linear += rbf(source, target[start : start + _TARGET_CHUNK], gamma).sum(axis=1, dtype=np.float64)
    linear *= rows / len(target)

    def project(point: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return _into_box(point, limit, rows * max(0.0, 1 - slack), rows * (1 + slack))

    return _minimize(multiply, linear, project)


def _multiplication(
    source: Floats, gamma: float, seed: int
) -> Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]:
    """The product of the kernel matrix of the source with a vector."""
    if len(source) <= _WHOLE_KERNEL:
        kernel = rbf(source, source, gamma)
        return lambda point: (kernel @ point.astype(kernel.dtype)).astype(np.float64)
    landmarks = some_rows(source, _LANDMARKS, seed)
    features = rbf(source, landmarks, gamma) @ nystrom(landmarks, gamma).astype(source.dtype)
    return lambda point: (features @ (features.T @ point.astype(features.dtype))).astype(np.float64)


def _minimize(
    multiply: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]],
    linear: npt.NDArray[np.float64],
    project: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]],
) -> npt.NDArray[np.float64]:
    """Minimize ½ xᵀKx - lᵀx over a convex set: FISTA (Beck and Teboulle 2009), restarted by the gradient."""
    here = np.ones(len(linear))
    step = 1 / float(multiply(here).max())  # no eigenvalue exceeds the largest sum of a row (Gershgorin)
    ahead, momentum = here, 1.0
    for _ in range(_ITERATIONS):
        there = project(ahead - step * (multiply(ahead) - linear))
        moved = there - here
        if np.abs(moved).max() <= _TOLERANCE * max(1.0, float(np.abs(there).max())):
            return there
        if (ahead - there) @ moved > 0:
            momentum = 1.0
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = there + (momentum - 1) / following * moved
        here, momentum = there, following
    return here


def _into_box(
    point: npt.NDArray[np.float64], most: float, smallest_sum: float, largest_sum: float
) -> npt.NDArray[np.float64]:
    """Project onto 0 ≤ x ≤ most with a sum within bounds: a shift of all values, found by bisection."""
    inside = np.clip(point, 0, most)
    total = inside.sum()
    if smallest_sum <= total <= largest_sum:
        return inside
    wanted = smallest_sum if total < smallest_sum else largest_sum
    low, high = float(point.min()) - most, float(point.max())
    for _ in range(100):
        middle = (low + high) / 2
        if np.clip(point - middle, 0, most).sum() > wanted:
            low = middle
        else:
            high = middle
    return np.clip(point - high, 0, most)
