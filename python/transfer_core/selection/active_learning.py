"""Active learning: select the unlabelled examples whose labels improve a model the most.

All functions return the indices (count,) of the selected examples, the most useful first.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Indices: TypeAlias = npt.NDArray[np.int64]


def most_uncertain(probabilities: Floats, count: int) -> Indices:
    """Examples with the highest entropy of the prediction (Lewis and Gale 1994, uncertainty sampling).

    Parameters
    ----------
    probabilities
        (N, K).
    count
        Number of examples.
    """
    entropy = -(probabilities * np.log(np.maximum(probabilities, 1e-12))).sum(axis=1)
    return _highest(entropy, count)


def smallest_margin(probabilities: Floats, count: int) -> Indices:
    """Examples with the smallest difference between the two highest probabilities (Scheffer et al. 2001).

    Parameters
    ----------
    probabilities
        (N, K), K ≥ 2.
    count
        Number of examples.
    """
    second, first = np.partition(probabilities, -2, axis=1)[:, -2:].T
    return _highest(second - first, count)


def core_set(embeddings: Floats, labelled: Floats, count: int) -> Indices:
    """Examples that cover the others: greedy k-center (Sener and Savarese 2018, algorithm 1).

    Parameters
    ----------
    embeddings
        (N, D) of the unlabelled examples.
    labelled
        (M, D) of the labelled ones, which are centers already; M may be 0.
    count
        Number of examples.
    """
    rows = embeddings.astype(np.float32)
    squares = (rows**2).sum(axis=1)
    nearest = np.full(len(rows), np.inf, np.float32)
    for part in np.array_split(labelled.astype(np.float32), max(1, len(labelled) // 256)):
        if len(part):
            distances = squares[:, None] - 2 * rows @ part.T + (part**2).sum(axis=1)
            nearest = np.minimum(nearest, distances.min(axis=1))
    if not len(labelled):  # begin with the example nearest to the mean
        nearest = -((rows - rows.mean(axis=0)) ** 2).sum(axis=1)
    found: list[int] = []
    for _ in range(min(count, len(rows))):
        farthest = int(np.argmax(nearest))
        if not found and not len(labelled):
            nearest = np.full(len(rows), np.inf, np.float32)
        found.append(farthest)
        nearest = np.minimum(nearest, squares - 2 * rows @ rows[farthest] + squares[farthest])
        nearest[found] = -np.inf
    return np.array(found, np.int64)


def badge(embeddings: Floats, probabilities: Floats, count: int, seed: int) -> Indices:
    """BADGE: k-means++ on the gradients of the last layer for the predicted classes.

    Ash et al. 2020, Deep batch active learning, algorithm 1. A gradient is the outer product of the residual
    (K,) and the embedding (D,): distances come from products of the two, so that the (N, K D) gradients are
    never built.

    Parameters
    ----------
    embeddings
        (N, D).
    probabilities
        (N, K).
    count
        Number of examples.
    seed
        Seed of k-means++.
    """
    generator = np.random.default_rng(seed)
    rows = embeddings.astype(np.float64)
    residuals = probabilities.astype(np.float64).copy()
    residuals[np.arange(len(rows)), probabilities.argmax(axis=1)] -= 1
    squares = (rows**2).sum(axis=1) * (residuals**2).sum(axis=1)
    found = [int(np.argmax(squares))]
    nearest = np.full(len(rows), np.inf)
    while len(found) < min(count, len(rows)):
        last = found[-1]
        distances = squares - 2 * (rows @ rows[last]) * (residuals @ residuals[last]) + squares[last]
        nearest = np.minimum(nearest, np.maximum(distances, 0))
        nearest[found] = 0
        total = nearest.sum()
        if total <= 0:  # only copies of selected examples are left
            left = np.setdiff1d(np.arange(len(rows)), found)
            found.extend(left[: min(count, len(rows)) - len(found)].tolist())
            break
        found.append(int(generator.choice(len(rows), p=nearest / total)))
    return np.array(found[:count], np.int64)


def _highest(scores: Floats, count: int) -> Indices:
    return np.argsort(-scores, kind="stable")[:count]
