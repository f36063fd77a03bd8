"""Subspace alignment: principal components of both domains, those of the source turned to the target's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from transfer_core.kinds.affine import Affine, Alignment
from transfer_core.kinds.arrays import domains, moments
from transfer_core.runtime.parallel import one_blas_thread


def subspace(source: npt.ArrayLike, target: npt.ArrayLike, components: int = 80) -> Alignment:
    """Align the subspaces of the first principal components.

    With principal components P_s and P_t (D, R), the source is mapped by (x - m_s) P_s P_sᵀ P_t and the
    target by (x - m_t) P_t.

    Parameters
    ----------
    source, target
        (N, D) and (M, D) features.
    components
        R, at most the rank that N, M and D allow.

    References
    ----------
    Fernando, Habrard, Sebban and Tuytelaars, Unsupervised Visual Domain Adaptation Using Subspace Alignment,
    ICCV 2013, algorithm 1.
    """
    source, target = domains(source, target)
    components = max(1, min(components, len(source) - 1, len(target) - 1, source.shape[1]))
    with one_blas_thread(), ThreadPoolExecutor(2) as pool:
        (mean, first), (centre, second) = pool.map(
            lambda part: _principal(part, components), (source, target)
        )
    zero = np.zeros(components)
    return Alignment(Affine(mean, first @ (first.T @ second), zero), Affine(centre, second, zero))


def _principal(
    features: npt.NDArray[np.floating], components: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean (D,) and principal components (D, R), the largest first."""
    mean, covariance = moments(features)
    vectors = np.linalg.eigh(covariance)[1]
    return mean, vectors[:, ::-1][:, :components]
