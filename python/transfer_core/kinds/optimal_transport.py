"""Optimal transport: source examples are moved to where the target is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transfer_core.kinds.arrays import Floats, Integers, chunks, domains
from transfer_core.kinds.kernels import squared_distances

# Rows of each domain in a plan, whose matrices take 64 MB each; other rows move with their nearest ones.
_MOST = 4000
_ITERATIONS = 300
_TOLERANCE = 1e-3
# Linearizations of the group lasso.
_ROUNDS = 5


def optimal_transport(
    source: npt.ArrayLike,
    target: npt.ArrayLike,
    classes: Integers | None = None,
    regularization: float = 0.05,
    group: float = 0.1,
    seed: int = 0,
) -> Floats:
    """Move source rows to the barycentres of the target rows to which an entropic transport plan takes them.

    With `classes`, a group lasso keeps source rows of different classes from going to the same target row.
    Of domains with more than 4,000 rows a sample is transported, and other rows move as their nearest sampled
    row does (Ferradans et al. 2014).

    Parameters
    ----------
    source, target
        (N, D) and (M, D) features.
    classes
        Classes of the source rows (N,). Default: unknown.
    regularization
        Strength of the entropy, relative to the median cost.
    group
        Strength of the group lasso, likewise.
    seed
        Seed of the sample.

    Returns
    -------
    The moved source rows (N, D).

    References
    ----------
    Courty, Flamary, Tuia and Rakotomamonjy, Optimal Transport for Domain Adaptation, IEEE TPAMI 39 (2017),
    equations 13 and 14; Cuturi, Sinkhorn Distances, NIPS 2013, algorithm 1.
    """
    source, target = domains(source, target)
    rng = np.random.default_rng(seed)
    some, others = _sample(len(source), rng), _sample(len(target), rng)
    cost = squared_distances(source[some], target[others])
    cost /= float(np.median(cost)) or 1.0
    if classes is None:
        plan = sinkhorn(cost, regularization)
    else:
        plan = _class_plan(cost, np.asarray(classes)[some], regularization, group)
    plan /= np.maximum(plan.sum(axis=1, keepdims=True), 1e-30)
    moved: Floats = plan @ target[others]
    if len(some) == len(source):
        return moved
    shift, found = moved - source[some], np.empty_like(source)
    for part in chunks(len(source)):
        nearest = squared_distances(source[part], source[some]).argmin(axis=1)
        found[part] = source[part] + shift[nearest]
    return found


def _sample(rows: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    return np.sort(rng.permutation(rows)[:_MOST])


def sinkhorn(cost: Floats, regularization: float) -> Floats:
    """Entropic transport plan (N, M) between equally weighted rows: min <P, cost> - regularization · H(P).

    Parameters
    ----------
    cost
        (N, M).
    regularization
        Strength of the entropy.
    """
    rows, others = cost.shape
    # A shift of each row and column changes only the scaling: exp stays within the range of float32.
    kernel: Floats = cost - cost.min(axis=1, keepdims=True)
    kernel -= kernel.min(axis=0, keepdims=True)
    kernel *= -1 / regularization
    np.exp(kernel, out=kernel)
    tiny = np.finfo(cost.dtype).tiny
    columns = np.full(others, 1 / others, cost.dtype)
    for number in range(_ITERATIONS):
        scale = (1 / rows) / np.maximum(kernel @ columns, tiny)
        sums = kernel.T @ scale
        if number % 10 == 9 and np.abs(columns * sums - 1 / others).sum() < _TOLERANCE:
            break
        columns = (1 / others) / np.maximum(sums, tiny)
    kernel *= scale[:, None]
    kernel *= columns
    return kernel


def _class_plan(cost: Floats, classes: Integers, regularization: float, strength: float) -> Floats:
    """Plan with a group lasso over the source rows of a class in each column, by majorization."""
    members = [classes == one for one in np.unique(classes)]
    penalty = np.zeros_like(cost)
    for _ in range(_ROUNDS):
        plan = sinkhorn(cost + penalty, regularization)
        scaled = plan * len(plan)
        for rows in members:
            penalty[rows] = strength * 0.5 / np.sqrt(scaled[rows].sum(axis=0) + 1e-3)
    return plan
