"""How well one property of the inputs predicts the label by itself: cross-validation and binomial test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from transfer_core.tasks.criteria import Array

_FOLDS = 5
_BINS = 16


class Strength(NamedTuple):
    """Cross-validated `accuracy` of the property, that of the most frequent label (`baseline`), and the
    `p_value` of the hypothesis that the property is no better."""

    accuracy: float
    baseline: float
    p_value: float


def strength_of(values: Sequence[Any], targets: Array, seed: int) -> Strength:
    """Predict each label by the majority of the same value, or of the same bin of numbers, in other folds.

    Parameters
    ----------
    values
        (N,) numbers, or texts and None as categories.
    targets
        (N,) classes.
    seed
        Seed of the folds.
    """
    targets = np.asarray(targets)
    fold = np.empty(len(targets), np.int64)
    fold[np.random.default_rng(seed).permutation(len(targets))] = np.arange(len(targets)) % _FOLDS
    numbers = _numbers(values)
    names = np.unique(list(map(repr, values)), return_inverse=True)[1]
    classes = int(targets.max()) + 1
    right = usual = 0
    for k in range(_FOLDS):
        inside, outside = fold != k, fold == k
        cells = names if numbers is None else _bins(numbers, inside)
        counts = np.zeros((int(cells.max()) + 1, classes), np.int64)
        np.add.at(counts, (cells[inside], targets[inside]), 1)
        majority = counts.sum(axis=0).argmax()
        best = np.where(counts.any(axis=1), counts.argmax(axis=1), majority)
        right += int((best[cells[outside]] == targets[outside]).sum())
        usual += int((targets[outside] == majority).sum())
    count = len(targets)
    baseline = max(usual / count, np.bincount(targets).max() / count)
    return Strength(right / count, baseline, binomial_tail(right, count, baseline))


def binomial_tail(successes: int, count: int, share: float) -> float:
    """P(X ≥ successes) of a binomial variable with `count` trials of probability `share`.

    >>> round(binomial_tail(8, 10, 0.5), 4)
    0.0547
    """
    if successes <= 0 or share >= 1:
        return 1.0
    logs = [
        math.lgamma(count + 1)
        - math.lgamma(k + 1)
        - math.lgamma(count - k + 1)
        + k * math.log(share)
        + (count - k) * math.log1p(-share)
        for k in range(successes, count + 1)
    ]
    return min(1.0, math.fsum(map(math.exp, logs)))


def _numbers(values: Sequence[Any]) -> npt.NDArray[np.float64] | None:
    """The values as numbers, missing ones as the lowest; None if some are text, or they are few."""
    try:
        numbers = np.array([np.nan if value is None else float(value) for value in values])
    except ValueError:
        return None
    if len(np.unique(numbers[~np.isnan(numbers)])) <= _BINS:
        return None
    return np.asarray(np.where(np.isnan(numbers), -np.inf, numbers), np.float64)


def _bins(numbers: npt.NDArray[np.float64], inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    known = numbers[inside & np.isfinite(numbers)]
    edges = np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1])
    return np.searchsorted(np.unique(edges), numbers, side="right") + (numbers > -np.inf)
