"""Correlation alignment: the source gets the mean and covariance of the target."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from transfer_core.kinds.affine import Affine, Alignment
from transfer_core.kinds.arrays import domains, moments
from transfer_core.runtime.parallel import one_blas_thread


def coral(source: npt.ArrayLike, target: npt.ArrayLike, ridge: float = 1e-2) -> Alignment:
    """Align the second-order statistics of the source with those of the target.

    The source is mapped by (x - m_s) C_s^(-1/2) C_t^(1/2) + m_t with the regularized covariances
    C = covariance + ridge · mean variance of both domains · I. The target stays as it is. The paper takes
    C = covariance + I on standardized features.

    Parameters
    ----------
    source, target
        (N, D) and (M, D) features.
    ridge
        Regularization relative to the mean variance.

    References
    ----------
    Sun, Feng and Saenko, Return of Frustratingly Easy Domain Adaptation, AAAI 2016, algorithm 1.
    """
    source, target = domains(source, target)
    (mean, of_source), (centre, of_target) = moments(source), moments(target)
    width = len(mean)
    level = ridge * (np.trace(of_source) + np.trace(of_target)) / (2 * width)
    regular = level * np.eye(width) if level > 0 else np.eye(width)
    with one_blas_thread(), ThreadPoolExecutor(2) as pool:
        white = pool.submit(_power, of_source + regular, -0.5)
        colour = pool.submit(_power, of_target + regular, 0.5)
        matrix = white.result() @ colour.result()
    return Alignment(Affine(mean, matrix, centre))


def _power(matrix: npt.NDArray[np.float64], exponent: float) -> npt.NDArray[np.float64]:
    """Power of a symmetric positive definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    found: npt.NDArray[np.float64] = (
        vectors * np.maximum(values, 1e-12 * values[-1]) ** exponent
    ) @ vectors.T
    return found
