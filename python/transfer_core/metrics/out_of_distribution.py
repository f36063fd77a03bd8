"""Out-of-distribution scores of embeddings and outputs, and their threshold.

The higher a score, the less an input resembles the training examples.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.floating[Any]]


def energy(outputs: Floats, temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """Energy -T log Σ exp(z / T) of logits (N, K) (Liu et al. 2020, equation 4)."""
    scaled = outputs.astype(np.float64) / temperature
    largest = scaled.max(axis=1)
    total = np.exp(scaled - largest[:, None]).sum(axis=1)
    return np.asarray(-temperature * (largest + np.log(total)), np.float64)


def mahalanobis(embeddings: Floats, means: Floats, precision_root: Floats) -> npt.NDArray[np.float64]:
    """Squared Mahalanobis distance to the nearest class mean (Lee et al. 2018, equation 2).

    Parameters
    ----------
    embeddings
        (N, D).
    means
        (K, D) of the classes.
    precision_root
        (D, R) with R R' the inverse of the shared covariance.
    """
    rows, centers = embeddings @ precision_root, means @ precision_root
    distances = (rows**2).sum(axis=1)[:, None] - 2 * rows @ centers.T + (centers**2).sum(axis=1)
    return np.asarray(np.maximum(distances, 0).min(axis=1), np.float64)


def nearest_neighbour(embeddings: Floats, training: Floats, k: int) -> npt.NDArray[np.float64]:
    """Distance to the k-th nearest training embedding, both of length 1 (Sun et al. 2022, section 3).

    Parameters
    ----------
    embeddings
        (N, D).
    training
        (M, D).
    k
        From 1 to M.
    """
    rows, known = _unit(embeddings), _unit(training)
    found = [
        np.partition(part @ known.T, -k, axis=1)[:, -k] for part in np.array_split(rows, 1 + len(rows) // 512)
    ]
    return np.sqrt(np.maximum(2 - 2 * np.concatenate(found).astype(np.float64), 0))


def auroc(inside: Floats, outside: Floats) -> float:
    """Probability that an outside score exceeds an inside one, ties counted as half (Mann-Whitney)."""
    both = np.sort(inside)
    below, at_most = np.searchsorted(both, outside, "left"), np.searchsorted(both, outside, "right")
    return float((below + at_most).sum() / (2 * len(inside) * len(outside)))


def threshold(inside: Floats, share: float = 0.95) -> float:
    """The score that this share of new inputs from the training distribution does not exceed.

    A split-conformal quantile: the ⌈(n + 1) share⌉-th smallest of n held-out scores; infinite with too few.
    """
    rank = int(np.ceil((len(inside) + 1) * share))
    return float(np.sort(inside)[rank - 1]) if rank <= len(inside) else float("inf")


def _unit(rows: Floats) -> npt.NDArray[np.float32]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(norms, 1e-12), np.float32)
