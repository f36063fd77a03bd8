"""Radial basis function kernels: squared distances, bandwidths, Nyström features."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transfer_core.kinds.arrays import Floats, some_rows
from transfer_core.runtime.parallel import one_blas_thread

# Rows of each domain from which the median distance is estimated.
_FOR_MEDIAN = 500
# Directions of a kernel with a smaller share of its largest eigenvalue are rounding.
_RANK = 1e-6


def squared_distances(first: Floats, second: Floats) -> Floats:
    """Squared Euclidean distances (N, M) between rows of (N, D) and (M, D)."""
    origin = second.mean(axis=0)  # distances of nearby points far from 0 would cancel
    first, second = first - origin, second - origin
    norms = np.einsum("nd,nd->n", second, second)
    found: Floats = first @ second.T
    found *= -2
    found += norms
    found += np.einsum("nd,nd->n", first, first)[:, None]
    return np.maximum(found, 0, out=found)


def rbf(first: Floats, second: Floats, gamma: float) -> Floats:
    """Kernel matrix exp(-gamma |x - y|²), (N, M)."""
    found = squared_distances(first, second)
    found *= -gamma
    return np.exp(found, out=found)


def median_gamma(source: Floats, target: Floats, seed: int = 0) -> float:
    """1 / median of the squared distances between rows of both domains (Gretton et al. 2012)."""
    some = np.concatenate([some_rows(source, _FOR_MEDIAN, seed), some_rows(target, _FOR_MEDIAN, seed + 1)])
    distances = squared_distances(some, some)[np.triu_indices(len(some), 1)]
    median = float(np.median(distances[distances > 0])) if (distances > 0).any() else 1.0
    return 1 / median


def nystrom(landmarks: Floats, gamma: float) -> npt.NDArray[np.float64]:
    """Matrix (L, R) that turns `rbf(x, landmarks)` into features whose products approximate the kernel.

    References
    ----------
    Williams and Seeger, Using the Nyström Method to Speed Up Kernel Machines, NIPS 2000, section 3.
    """
    with one_blas_thread():
        values, vectors = np.linalg.eigh(rbf(landmarks, landmarks, gamma).astype(np.float64))
    kept = values > _RANK * values[-1]
    scaled: npt.NDArray[np.float64] = vectors[:, kept] / np.sqrt(values[kept])
    return scaled
