"""Inputs unlike all others: the distance of an embedding to its nearest neighbours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transfer_core.findings.examples import Examples, Finding
from transfer_core.tasks.criteria import Array

_NEIGHBOURS = 3
# Tukey's outer fence, in interquartile ranges above the third quartile.
_FENCE = 3.0
# Embeddings that distances are computed to, at most.
_MOST_COMPARED = 10_000
_ROWS_AT_ONCE = 512
_FEWEST = 20


def neighbour_distances(embeddings: Array, seed: int) -> npt.NDArray[np.float64]:
    """Euclidean distance (N,) to the third nearest other embedding, both of length 1 (Sun et al. 2022).

    Parameters
    ----------
    embeddings
        (N, D), N at least 4.
    seed
        Seed of the sample of at most 10,000 embeddings that distances are computed to.
    """
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    unit = np.asarray(embeddings / np.maximum(lengths, 1e-12), np.float32)
    kept = np.sort(np.random.default_rng(seed).permutation(len(unit))[:_MOST_COMPARED])
    found = []
    for start in range(0, len(unit), _ROWS_AT_ONCE):
        rows = np.arange(start, min(start + _ROWS_AT_ONCE, len(unit)))
        cosines = unit[rows] @ unit[kept].T
        cosines[rows[:, None] == kept] = -np.inf
        found.append(np.partition(cosines, -_NEIGHBOURS, axis=1)[:, -_NEIGHBOURS])
    return np.sqrt(np.maximum(2 - 2 * np.concatenate(found).astype(np.float64), 0))


def outliers(examples: Examples, embeddings: Array, seed: int) -> list[Finding]:
    """Inputs beyond Tukey's outer fence of the distances; the `score` is the distance, 0 to 2."""
    if len(examples) < _FEWEST:
        return []
    distances = neighbour_distances(embeddings, seed)
    low, median, high = np.quantile(distances, [0.25, 0.5, 0.75])
    rows = np.flatnonzero(distances > high + _FENCE * (high - low))
    return [
        Finding(
            "outlier",
            f"its distance to its neighbours is {distances[row]:.2f}, usual is {median:.2f}",
            examples.keys[row],
            examples.labels[row],
            score=float(distances[row]),
        )
        for row in rows[np.argsort(-distances[rows], kind="stable")].tolist()
    ]
