"""Label propagation in the target: predictions are smoothed over neighbours, and a classifier is refitted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transfer_core.kinds.arrays import Floats, Integers, domains, moments, some_rows
from transfer_core.kinds.linear import LinearModel, fit_softmax, softmax
from transfer_core.runtime.parallel import one_blas_thread

# Rows of the target in the graph, whose matrices take 64 MB each; more are sampled.
_MOST = 4000
_COMPONENTS = 64
_ITERATIONS = 30
_ROUNDS = 3
# Share of the rows of each predicted class, the most certain ones, that the classifier is refitted on.
_KEPT = 0.8
# Weight of a source row in the refits, relative to one of the target.
_OF_SOURCE = 0.3


def propagation(
    source: npt.ArrayLike,
    classes: Integers,
    target: npt.ArrayLike,
    count: int,
    neighbors: int = 7,
    persistence: float = 0.9,
    seed: int = 0,
) -> LinearModel:
    """Fit softmax regression on the source and on the target's propagated predictions, in three rounds.

    Each round predicts the target, spreads the probabilities over the graph of nearest neighbours, and fits
    on the source and the most certain 80 % of each predicted class. Above 4,000 target rows a sample is used.

    Parameters
    ----------
    source, target
        (N, D) and (M, D) features in a common space.
    classes
        (N,) classes of the source, 0 to `count` - 1.
    count
        The number of classes K.
    neighbors
        Nearest neighbours of each row, by the cosine of principal components.
    persistence
        Share of the neighbours in a row's new scores; the rest is its own prediction.
    seed
        Seed of the sample.

    References
    ----------
    Zhou, Bousquet, Lal, Weston and Schölkopf, Learning with Local and Global Consistency, NIPS 2003,
    section 2; Wang and Breckon, Unsupervised Domain Adaptation via Structured Prediction Based Selective
    Pseudo-Labeling, AAAI 2020, section 3.4, for the selection per class.
    """
    source, target = domains(source, target)
    target = some_rows(target, _MOST, seed)
    affinity = neighbor_graph(_projected(target), neighbors)
    model = fit_softmax(source, classes, count)
    rows = np.concatenate([source, target])
    for _ in range(_ROUNDS):
        spread = propagated(affinity, softmax(model.outputs(target)), persistence)
        labels = spread.argmax(axis=1)
        weights = np.concatenate([np.full(len(source), _OF_SOURCE), _most_certain(spread, labels)])
        model = fit_softmax(rows, np.concatenate([classes, labels]), count, weights, start=model)
    return model


def neighbor_graph(rows: Floats, neighbors: int) -> Floats:
    """Normalized affinities D^(-1/2) A D^(-1/2) of nearest neighbours (M, M), without a diagonal."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    directions = rows / np.maximum(norms, 1e-12)
    similar = directions @ directions.T
    np.fill_diagonal(similar, -np.inf)
    few = min(neighbors, len(rows) - 1)
    affinity: Floats = np.zeros_like(similar)
    if few < 1:
        return affinity
    nearest = np.argpartition(-similar, few - 1, axis=1)[:, :few]
    each = np.arange(len(rows))[:, None]
    affinity[each, nearest] = np.maximum(similar[each, nearest], 0) ** 3
    affinity = np.maximum(affinity, affinity.T)
    root = 1 / np.sqrt(affinity.sum(axis=1) + 1e-9)
    affinity *= root[:, None]
    affinity *= root
    return affinity


def propagated(affinity: Floats, scores: Floats, persistence: float) -> Floats:
    """Scores (M, K) after spreading over the graph: F ← persistence · A F + (1 - persistence) · scores."""
    spread = scores
    for _ in range(_ITERATIONS):
        spread = persistence * (affinity @ spread) + (1 - persistence) * scores
    shares: Floats = spread / np.maximum(spread.sum(axis=1, keepdims=True), 1e-30)
    return shares


def _projected(target: Floats) -> Floats:
    """The target's principal components."""
    centre, covariance = moments(target)
    with one_blas_thread():
        axes = np.linalg.eigh(covariance)[1][:, ::-1][:, :_COMPONENTS]
    projected: Floats = (target - centre) @ axes.astype(target.dtype)
    return projected


def _most_certain(scores: Floats, labels: Integers) -> npt.NDArray[np.float64]:
    """1 for the most certain rows of each predicted class, at least one, else 0."""
    kept = np.zeros(len(labels))
    for one in np.unique(labels):
        own = np.flatnonzero(labels == one)
        order = own[np.argsort(-scores[own, one], kind="stable")]
        kept[order[: max(1, int(_KEPT * len(own)))]] = 1
    return kept
