"""Active learning: select the unlabelled examples whose labels improve a model the most.

All functions return a `Choice` of at most `count` examples, the most useful first.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Indices: TypeAlias = npt.NDArray[np.int64]


class Choice(NamedTuple):
    """Indices (M,) of the selected examples and the scores (M,) by which they were selected."""

    indices: Indices
    scores: npt.NDArray[np.float64]


def most_uncertain(probabilities: Floats, count: int) -> Choice:
    """Examples with the highest entropy of the prediction (Lewis and Gale 1994, uncertainty sampling).

    Parameters
    ----------
    probabilities
        (N, K) of exclusive classes.
    count
        Number of examples.

    Returns
    -------
    Choice
        The score is the entropy in nats.
    """
    return _highest(-(probabilities * np.log(np.maximum(probabilities, 1e-12))).sum(axis=1), count)


def smallest_margin(probabilities: Floats, count: int) -> Choice:
    """Examples with the smallest difference between the two highest probabilities (Scheffer et al. 2001).

    Parameters
    ----------
    probabilities
        (N, K) of exclusive classes, K ≥ 2.
    count
        Number of examples.

    Returns
    -------
    Choice
        The score is 1 less the difference.
    """
    second, first = np.partition(probabilities, -2, axis=1)[:, -2:].T
    return _highest(1 + second - first, count)


def core_set(embeddings: Floats, labelled: Floats, count: int) -> Choice:
    """Examples that cover the others: greedy k-center (Sener and Savarese 2018, algorithm 1).

    Parameters
    ----------
    embeddings
        (N, D) of the unlabelled examples.
    labelled
        (M, D) of the labelled ones, which are centers already; M may be 0.
    count
        Number of examples.

    Returns
    -------
    Choice
        The score is the distance to the nearest center at the time of the selection.
    """
    rows = embeddings.astype(np.float32)
    squares = (rows**2).sum(axis=1)
    nearest = np.full(len(rows), np.inf, np.float32)
    for part in np.array_split(labelled.astype(np.float32), max(1, len(labelled) // 256)):
        if len(part):
            distances = squares[:, None] - 2 * rows @ part.T + (part**2).sum(axis=1)
            nearest = np.minimum(nearest, distances.min(axis=1))
    from_mean = ((rows - rows.mean(axis=0)) ** 2).sum(axis=1)
    found: list[int] = []
    scores: list[float] = []
    for _ in range(min(count, len(rows))):
        first = not found and not len(labelled)
        farthest = int(np.argmin(from_mean) if first else np.argmax(nearest))
        scores.append(float(from_mean.max() if first else nearest[farthest]))
        found.append(farthest)
        nearest = np.minimum(nearest, squares - 2 * rows @ rows[farthest] + squares[farthest])
        nearest[found] = -np.inf
    return Choice(np.array(found, np.int64), np.sqrt(np.maximum(scores, 0)))


def badge(embeddings: Floats, probabilities: Floats, count: int, seed: int) -> Choice:
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

    Returns
    -------
    Choice
        The score is the norm of the gradient.
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
    chosen = np.array(found[:count], np.int64)
    return Choice(chosen, np.sqrt(squares[chosen]))


def _highest(scores: Floats, count: int) -> Choice:
    indices = np.argsort(-scores, kind="stable")[:count]
    return Choice(indices, scores[indices].astype(np.float64))
