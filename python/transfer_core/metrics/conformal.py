"""How far held-out examples were from what was said of them, and what that promises for a new one.

Split conformal prediction: Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World, 2005; Lei,
G'Sell, Rinaldo, Tibshirani & Wasserman, Distribution-Free Predictive Inference for Regression, JASA 2018.
https://arxiv.org/abs/1604.04173
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer_core.metrics.arrays import Floats, Integers
from transfer_core.metrics.bootstrap import interval, resampled_counts

# What the metrics are given at.
LEVEL = 0.9

# So many held-out examples fix a level of 0.9 to within 1.4 points (two standard deviations).
ENOUGH = 2000


def some_rows(count: int) -> Integers:
    """At most `ENOUGH` row numbers of `count`, evenly spread: what the rows hold has no say in it."""
    step = max(1, math.ceil(count / ENOUGH))
    return np.arange(0, count, step)


def fewest(level: float) -> int:
    """So many held-out examples are needed for that level."""
    return max(1, math.ceil(round(level / (1 - level), 9)))


def conformal_quantile(distances: Sequence[float], level: float) -> float | None:
    """The ⌈(n + 1) level⌉-th smallest of n sorted `distances`; None if n is too small for that.

    The distance of one more example, drawn as these were, is at most that with a probability of at least
    `level`, whatever the model and the data are (Lei et al. 2018, theorem 2.2).

    Examples
    --------
    >>> conformal_quantile([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], 0.8)
    0.8
    """
    rank = max(1, math.ceil(round((len(distances) + 1) * level, 9)))
    return distances[rank - 1] if rank <= len(distances) else None


def class_distances(probabilities: Floats, targets: Integers) -> list[float]:
    """Sorted, 1 - p of the true class (Sadinle, Lei & Wasserman, Least Ambiguous Set-Valued Classifiers with
    Bounded Error Levels, JASA 2019)."""
    own = np.take_along_axis(probabilities, targets[:, None], axis=1)[:, 0]
    distances: list[float] = np.sort(1 - own).tolist()
    return distances


def value_distances(values: Floats, targets: Floats) -> list[list[float]]:
    """Sorted, |y - ŷ|, a list for each output."""
    distances: list[list[float]] = np.sort(np.abs(values - targets), axis=0).T.tolist()
    return distances


def in_set(probabilities: npt.NDArray[Any], quantile: float) -> npt.NDArray[np.bool_]:
    """(N, C) the classes that may be true: those within the quantile, and always the most probable one, so
    that no set is empty."""
    within: npt.NDArray[np.bool_] = 1 - probabilities <= quantile
    within[np.arange(len(within)), probabilities.argmax(axis=1)] = True
    return within


def set_metrics(
    probabilities: Floats,
    targets: Integers,
    distances: Sequence[Sequence[float]],
    seed: int,
    level: float = LEVEL,
) -> dict[str, Any]:
    """`level`, `coverage` (the share of examples whose set holds the truth) with its `interval`, `mean_size`
    of the sets, and `calibrated_on`, the number of distances; empty if these are too few for the level."""
    quantile = conformal_quantile(distances[0], level) if distances else None
    if quantile is None:
        return {}
    within = in_set(probabilities, quantile)
    covered = np.take_along_axis(within, targets[:, None], axis=1)[:, 0]
    return {
        "level": level,
        **_coverage(covered.astype(np.float64), seed),
        "mean_size": float(within.sum(axis=1).mean()),
        "calibrated_on": len(distances[0]),
    }


def interval_metrics(
    values: Floats,
    targets: Floats,
    names: Sequence[str],
    distances: Sequence[Sequence[float]],
    seed: int,
    level: float = LEVEL,
) -> dict[str, Any]:
    """`level`, `coverage` (the share of values within their interval) with its `interval`, `calibrated_on`,
    and `per_output` by name `coverage` and `width`; empty if too few examples were held out for the level."""
    halves = [conformal_quantile(own, level) for own in distances]
    known = [half for half in halves if half is not None]
    if len(known) < len(names):
        return {}
    covered = np.abs(values - targets) <= np.array(known)
    return {
        "level": level,
        **_coverage(covered.mean(axis=1), seed),
        "per_output": [
            {"name": name, "coverage": share, "width": 2 * half}
            for name, share, half in zip(names, covered.mean(axis=0).tolist(), known, strict=True)
        ],
        "calibrated_on": len(distances[0]),
    }


def _coverage(covered: Floats, seed: int) -> dict[str, Any]:
    """The mean of the examples' shares (N,), and how far it can be trusted."""
    shares, group_of = np.unique(covered, return_inverse=True)
    means = [counts @ shares / len(covered) for counts in resampled_counts(group_of, seed)]
    return {"coverage": float(covered.mean()), "interval": interval(np.concatenate(means))}
