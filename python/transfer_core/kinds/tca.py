"""Transfer component analysis: components with much variance and little difference between the domains."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transfer_core.kinds.affine import Affine, Alignment
from transfer_core.kinds.arrays import Floats, chunks, domains
from transfer_core.runtime.parallel import one_blas_thread

# Directions of the features with a smaller share of the largest variance are rounding.
_RANK = 1e-10


def tca(
    source: npt.ArrayLike, target: npt.ArrayLike, components: int = 80, strength: float = 1.0
) -> Alignment:
    """Find transfer components with the linear kernel.

    Solves the problem of the paper, min tr(WᵀKLKW) + μ tr(WᵀW) under WᵀKHKW = I, with K = XXᵀ. As the
    columns of W are of the form XG, it is a generalized eigenvalue problem of the size of the features:
    memory doesn't depend on the number of rows. For another kernel pass explicit features of it
    (`kernels.nystrom`).

    Parameters
    ----------
    source, target
        (N, D) and (M, D) features.
    components
        The number of components R, at most D.
    strength
        μ, on features scaled to a mean squared norm of 1.

    References
    ----------
    Pan, Tsang, Kwok and Yang, Domain Adaptation via Transfer Component Analysis, IEEE Transactions on Neural
    Networks 22 (2011), equations 7 and 8.
    """
    source, target = domains(source, target)
    scale = np.sqrt(
        np.mean([np.square(part, dtype=np.float64).sum(axis=1).mean() for part in (source, target)])
    )
    rows, width = len(source) + len(target), source.shape[1]
    second = np.zeros((width, width))
    for part in (source, target):
        for some in chunks(len(part)):
            second += part[some].T @ part[some]
    second /= scale**2 or 1.0
    means = [part.mean(axis=0, dtype=np.float64) / (scale or 1.0) for part in (source, target)]
    middle = (len(source) * means[0] + len(target) * means[1]) / rows
    matrix = _solve(second, rows, middle, means[0] - means[1], strength)[:, :components] / (scale or 1.0)
    mapped = Affine(np.zeros(width), matrix, np.zeros(matrix.shape[1]))
    return Alignment(mapped, mapped)


def _solve(
    second: Floats, rows: int, middle: Floats, difference: Floats, strength: float
) -> npt.NDArray[np.float64]:
    """Components (D, R), the best first.

    With a = XᵀW and S = XᵀX: WᵀKHKW = aᵀ(S - rows · middle middleᵀ)a, WᵀKLKW = aᵀ(difference differenceᵀ)a
    and WᵀW = aᵀS⁻¹a.
    """
    with one_blas_thread():
        values, vectors = np.linalg.eigh(second)
        kept = values > _RANK * max(values[-1], 1e-300)
        values, vectors = values[kept], vectors[:, kept]
        # In coordinates c = S^(-1/2) a the penalty is μ cᵀc, plus the distance: a matrix I + rank one.
        roots = np.sqrt(values)
        distance, centre = roots * (vectors.T @ difference), roots * (vectors.T @ middle)
        scatter = np.diag(values**2) - rows * np.outer(centre, centre)
        white = _inverse_root(distance, strength)
        found = np.linalg.eigh(white @ scatter @ white)[1][:, ::-1]
    components: npt.NDArray[np.float64] = vectors @ (roots[:, None] * (white @ found))
    return components


def _inverse_root(vector: Floats, strength: float) -> npt.NDArray[np.float64]:
    """(strength I + v vᵀ)^(-1/2)."""
    squared = float(vector @ vector)
    root: npt.NDArray[np.float64] = np.eye(len(vector)) / np.sqrt(strength)
    if squared > 0:
        change = 1 / np.sqrt(strength + squared) - 1 / np.sqrt(strength)
        root += change * np.outer(vector, vector) / squared
    return root
