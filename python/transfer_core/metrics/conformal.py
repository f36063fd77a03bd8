"""Split conformal prediction: nonconformity scores, quantiles, and metrics of prediction sets and intervals.

Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World, 2005; Lei, G'Sell, Rinaldo, Tibshirani &
Wasserman, Distribution-Free Predictive Inference for Regression, JASA 2018.
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

# The coverage at which the metrics are computed.
LEVEL = 0.9

# Two standard deviations of the coverage at a level of 0.9 are 1.4 points with this many scores.
MAX_SCORES = 2000


def calibration_rows(count: int) -> Integers:
    """Select at most `MAX_SCORES` of `count` row numbers, evenly spaced and independent of the data."""
    step = max(1, math.ceil(count / MAX_SCORES))
    return np.arange(0, count, step)


def min_held_out(level: float) -> int:
    """The smallest number of held-out examples for which a finite quantile at `level` exists."""
    return max(1, math.ceil(round(level / (1 - level), 9)))


def conformal_quantile(scores: Sequence[float], level: float) -> float | None:
    """The ⌈(n + 1) level⌉-th smallest of n sorted nonconformity scores; None if n is too small.

    The score of a new exchangeable example is at most this quantile with a probability of at least `level`,
    for any model and data distribution (Lei et al. 2018, theorem 2.2).

    Examples
    --------
    >>> conformal_quantile([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], 0.8)
    0.8
    """
    rank = max(1, math.ceil(round((len(scores) + 1) * level, 9)))
    return scores[rank - 1] if rank <= len(scores) else None


def class_scores(probabilities: Floats, targets: Integers) -> list[float]:
    """Sorted nonconformity scores of a classifier: 1 - p of the true class.

    Sadinle, Lei & Wasserman, Least Ambiguous Set-Valued Classifiers with Bounded Error Levels, JASA 2019.
    """
    own = np.take_along_axis(probabilities, targets[:, None], axis=1)[:, 0]
    scores: list[float] = np.sort(1 - own).tolist()
    return scores


def value_scores(values: Floats, targets: Floats) -> list[list[float]]:
    """Sorted nonconformity scores of a regression: |y - ŷ|, a list per output."""
    scores: list[list[float]] = np.sort(np.abs(values - targets), axis=0).T.tolist()
    return scores


def in_set(probabilities: npt.NDArray[Any], quantile: float) -> npt.NDArray[np.bool_]:
    """Prediction sets as bool (N, C): the classes within the quantile, and always the most probable one, so
    that no set is empty."""
    within: npt.NDArray[np.bool_] = 1 - probabilities <= quantile
    within[np.arange(len(within)), probabilities.argmax(axis=1)] = True
    return within


def set_metrics(
    probabilities: Floats,
    targets: Integers,
    scores: Sequence[Sequence[float]],
    seed: int,
    level: float = LEVEL,
) -> dict[str, Any]:
    """Compute coverage and mean size of prediction sets.

    Parameters
    ----------
    probabilities
        (N, C).
    targets
        (N,) class indices.
    scores
        One list of sorted nonconformity scores, or none.
    seed
        Seed of the bootstrap behind `interval`.
    level
        The requested coverage, between 0 and 1.

    Returns
    -------
    `level`, `coverage` (the share of sets that contain the target) with its `interval`, `mean_size` of the
    sets, and `calibrated_on`, the number of scores; empty if there are too few for the level.
    """
    quantile = conformal_quantile(scores[0], level) if scores else None
    if quantile is None:
        return {}
    within = in_set(probabilities, quantile)
    covered = np.take_along_axis(within, targets[:, None], axis=1)[:, 0]
    return {
        "level": level,
        **mean_coverage(covered.astype(np.float64), seed),
        "mean_size": float(within.sum(axis=1).mean()),
        "calibrated_on": len(scores[0]),
    }


def interval_metrics(
    values: Floats,
    targets: Floats,
    names: Sequence[str],
    scores: Sequence[Sequence[float]],
    seed: int,
    level: float = LEVEL,
) -> dict[str, Any]:
    """Compute coverage and width of prediction intervals.

    Parameters
    ----------
    values, targets
        (N, K) predictions and truth.
    names
        K names of the outputs.
    scores
        Sorted nonconformity scores, a list per output, or none.
    seed
        Seed of the bootstrap behind `interval`.
    level
        The requested coverage, between 0 and 1.

    Returns
    -------
    `level`, `coverage` (the share of values within their interval) with its `interval`, `calibrated_on`, and
    `per_output` with `name`, `coverage` and `width`; empty if there are too few scores for the level.
    """
    halves = [conformal_quantile(own, level) for own in scores]
    known = [half for half in halves if half is not None]
    if len(known) < len(names):
        return {}
    covered = np.abs(values - targets) <= np.array(known)
    return {
        "level": level,
        **mean_coverage(covered.mean(axis=1), seed),
        "per_output": [
            {"name": name, "coverage": share, "width": 2 * half}
            for name, share, half in zip(names, covered.mean(axis=0).tolist(), known, strict=True)
        ],
        "calibrated_on": len(scores[0]),
    }


def mean_coverage(covered: Floats, seed: int) -> dict[str, Any]:
    """Mean `coverage` of N examples, each 0 to 1, with its bootstrap `interval`."""
    shares, group_of = np.unique(covered, return_inverse=True)
    means = [counts @ shares / len(covered) for counts in resampled_counts(group_of, seed)]
    return {"coverage": float(covered.mean()), "interval": interval(np.concatenate(means))}
