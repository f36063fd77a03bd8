"""Transferability of a frozen backbone: scores of embeddings with targets, without fitting a head.

All functions take embeddings (N, D) and targets, classes (N,) int or values (N, K), and return one number:
the higher, the better a head on these embeddings is expected to be. Scores of different backbones on the same
examples can be compared.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Integers: TypeAlias = npt.NDArray[np.integer[Any]]

_MOST_ITERATIONS = 100
_CONVERGED = 1e-5


def log_me(embeddings: Floats, targets: npt.NDArray[Any]) -> float:
    """Logarithm of maximum evidence (You et al. 2021, LogME, algorithm 1).

    The log evidence per example of a Bayesian linear regression, maximized over the precisions of its weights
    and of its noise, averaged over targets; classes are regressed on indicators.

    Parameters
    ----------
    embeddings
        (N, D).
    targets
        (N,) classes, or (N, K) values.
    """
    values = one_hot(targets) if np.issubdtype(targets.dtype, np.integer) else targets
    values = values.reshape(len(embeddings), -1).astype(np.float64)
    left, eigenvalues = _left_vectors(embeddings.astype(np.float64))
    evidences = [
        _max_evidence(eigenvalues, left.T @ column, column, embeddings.shape[1]) for column in values.T
    ]
    return float(np.mean(evidences))


def _max_evidence(eigenvalues: Floats, projected: Floats, target: Floats, width: int) -> float:
    """Log evidence per example at its maximum, by MacKay's fixed-point iteration.

    Parameters
    ----------
    eigenvalues
        (R,) of the Gram matrix of the embeddings.
    projected
        (R,) the target in the basis of the left singular vectors.
    target
        (N,).
    width
        D.
    """
    n = len(target)
    outside = max(float(target @ target - projected @ projected), 0.0)
    alpha = beta = 1.0
    for _ in range(_MOST_ITERATIONS):
        ratio = alpha / beta
        effective = float((eigenvalues / (ratio + eigenvalues)).sum())
        weights2 = float((eigenvalues * projected**2 / (ratio + eigenvalues) ** 2).sum())
        residual2 = float(((ratio * projected / (ratio + eigenvalues)) ** 2).sum()) + outside
        alpha = effective / max(weights2, 1e-12)
        beta = max(n - effective, 1e-12) / max(residual2, 1e-12)
        if abs(alpha / beta - ratio) <= _CONVERGED * ratio:
            break
    ratio = alpha / beta
    weights2 = float((eigenvalues * projected**2 / (ratio + eigenvalues) ** 2).sum())
    residual2 = float(((ratio * projected / (ratio + eigenvalues)) ** 2).sum()) + outside
    log_determinant = float(np.log(alpha + beta * eigenvalues).sum()) + (width - len(eigenvalues)) * np.log(
        alpha
    )
    evidence = (
        width * np.log(alpha)
        + n * np.log(beta)
        - n * np.log(2 * np.pi)
        - beta * residual2
        - alpha * weights2
        - log_determinant
    ) / 2
    return float(evidence / n)


def h_score(embeddings: Floats, classes: Integers) -> float:
    """H-score with shrunk covariance: the trace of its inverse times the covariance of class means.

    Bao et al. 2019, An information-theoretic approach to transferability, equation 4; the covariance is
    shrunk as in Ibrahim et al. 2022, Newer is not always better, section 3.
    """
    centered = embeddings.astype(np.float64) - embeddings.mean(axis=0, dtype=np.float64)
    n, width = centered.shape
    counts = np.bincount(classes)
    present = counts > 0
    means = (one_hot(classes)[:, present].T @ centered) / counts[present, None]
    share = np.sqrt(counts[present] / n)[:, None]
    shrinkage = ledoit_wolf_intensity(centered)
    variance = float((centered**2).sum() / (n * width))
    if shrinkage * variance == 0:
        return 0.0
    # Woodbury: (a I + b X'X)^-1 applied to the few class means, through the smaller of N and D.
    directions = (share * means).T
    ridge, scale = shrinkage * variance, (1 - shrinkage) / n
    if width <= n:
        solved = np.linalg.solve(ridge * np.eye(width) + scale * centered.T @ centered, directions)
    else:
        inner = np.linalg.solve(
            ridge / max(scale, 1e-300) * np.eye(n) + centered @ centered.T, centered @ directions
        )
        solved = (directions - centered.T @ inner) / ridge
    return float((directions * solved).sum() * (1 - shrinkage))


def ledoit_wolf_intensity(centered: Floats) -> float:
    """Optimal shrinkage of a covariance matrix towards a multiple of the identity.

    Ledoit and Wolf 2004, A well-conditioned estimator for large-dimensional covariance matrices, section 3.

    Parameters
    ----------
    centered
        (N, D) of mean 0.

    Returns
    -------
    float
        In [0, 1].
    """
    n, width = centered.shape
    squared = centered**2
    # |X'X|² through the smaller Gram matrix.
    gram = centered.T @ centered if width <= n else centered @ centered.T
    covariance2 = float((gram**2).sum()) / n**2
    variance = float(squared.sum()) / (n * width)
    dispersion = covariance2 - width * variance**2
    noise = (float((squared.sum(axis=1) ** 2).sum()) / n - covariance2) / n
    if dispersion <= 0:
        return 1.0
    return float(np.clip(noise / dispersion, 0.0, 1.0))


def trans_rate(embeddings: Floats, classes: Integers, distortion: float = 1e-4) -> float:
    """TransRate: mutual information of embeddings and classes by coding rates.

    Huang et al. 2022, Frustratingly easy transferability estimation, equation 5.

    Parameters
    ----------
    embeddings
        (N, D); scaled to a mean squared entry of 1, so that the distortion means the same for all backbones.
    classes
        (N,).
    distortion
        ε of the paper.
    """
    centered = embeddings.astype(np.float64) - embeddings.mean(axis=0, dtype=np.float64)
    centered /= max(float(np.sqrt((centered**2).mean())), 1e-12)
    n = len(centered)
    within = 0.0
    for label in np.unique(classes):
        own = centered[classes == label]
        within += len(own) / n * _coding_rate(own, distortion)
    return _coding_rate(centered, distortion) - within


def _coding_rate(rows: Floats, distortion: float) -> float:
    """½ log det(I + Z'Z / (n ε))."""
    n, width = rows.shape
    gram = rows.T @ rows if width <= n else rows @ rows.T
    _, log_determinant = np.linalg.slogdet(np.eye(len(gram)) + gram / (n * distortion))
    return 0.5 * float(log_determinant)


def leep(assignments: Floats, classes: Integers) -> float:
    """LEEP: mean log likelihood under the empirical predictor (Nguyen et al. 2020, equation 2).

    Parameters
    ----------
    assignments
        (N, Z) probabilities of each example's source class or cluster.
    classes
        (N,).
    """
    joint = one_hot(classes).T @ assignments / len(classes)
    given = joint / np.maximum(joint.sum(axis=0), 1e-300)
    likelihood = (assignments @ given.T)[np.arange(len(classes)), classes]
    return float(np.log(np.maximum(likelihood, 1e-300)).mean())


def n_leep(embeddings: Floats, classes: Integers, seed: int = 0) -> float:
    """N-LEEP: LEEP of the clusters of a Gaussian mixture on principal components.

    Li et al. 2021, Ranking neural checkpoints, section 3.2.

    Parameters
    ----------
    embeddings
        (N, D); as many principal components as explain 80 % of the variance are kept.
    classes
        (N,); there are five clusters per class, at most a third of the examples.
    seed
        Start of the mixture's fit.

    Raises
    ------
    DependencyError
        Without scikit-learn, whose mixture is used.
    """
    from transfer_core.selection.mixture import cluster_probabilities

    clusters = max(2, min(5 * len(np.unique(classes)), len(classes) // 3))
    return leep(cluster_probabilities(principal_components(embeddings, 0.8), clusters, seed), classes)


def principal_components(embeddings: Floats, explained: float) -> Floats:
    """Project (N, D) on the fewest principal components that explain this share of the variance: (N, P)."""
    centered = embeddings.astype(np.float64) - embeddings.mean(axis=0, dtype=np.float64)
    left, eigenvalues = _left_vectors(centered)
    share = np.cumsum(eigenvalues) / max(float(eigenvalues.sum()), 1e-300)
    kept = 1 + int(np.searchsorted(share, explained))
    projected: Floats = left[:, :kept] * np.sqrt(eigenvalues[:kept])
    return projected


def _left_vectors(rows: Floats) -> tuple[Floats, Floats]:
    """Left singular vectors (N, R) and squared singular values (R,) of (N, D), the largest first.

    By the smaller Gram matrix, which is several times faster than a singular value decomposition.
    """
    n, width = rows.shape
    values, vectors = np.linalg.eigh(rows @ rows.T if n <= width else rows.T @ rows)
    kept = np.flatnonzero(values > 1e-12 * max(float(values[-1]), 1e-300))[::-1]
    values, vectors = values[kept], vectors[:, kept]
    return (vectors if n <= width else rows @ vectors / np.sqrt(values)), values


def one_hot(classes: Integers) -> Floats:
    """Indicators (N, K) float64 of classes (N,) from 0 to K - 1."""
    indicators = np.zeros((len(classes), int(classes.max()) + 1))
    indicators[np.arange(len(classes)), classes] = 1
    return indicators
