"""TrAdaBoost: boosting that takes weight from source examples which contradict labelled target ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from transfer_core.kinds.arrays import Floats, Integers
from transfer_core.kinds.example_weights import normalized

Weights: TypeAlias = npt.NDArray[np.float64]
# Of none, target examples would grow without a limit.
_SMALLEST_ERROR = 1e-3
# From features, targets and weights to predictions for all of these features.
Learner: TypeAlias = Callable[[Floats, npt.NDArray[Any], Weights], npt.NDArray[Any]]


@dataclass(frozen=True)
class Boosted:
    """Final weights of the source (N,) and of the labelled target examples (M,), each of mean 1, and the
    weighted error of the learner on the target in each round."""

    source: Weights
    target: Weights
    errors: tuple[float, ...]


def tradaboost(
    source: Floats,
    source_classes: Integers,
    target: Floats,
    target_classes: Integers,
    learn: Learner,
    rounds: int = 20,
) -> Boosted:
    """Weight source and labelled target examples by TrAdaBoost for classes.

    In each round a learner is fitted on all weighted examples. Source examples that it gets wrong lose weight
    by β = 1 / (1 + √(2 ln N / rounds)); target examples that it gets wrong gain by (1 - ε) / ε, with ε its
    weighted error on the target, between 0.001 and 0.499.

    Parameters
    ----------
    source, source_classes
        (N, D) and (N,).
    target, target_classes
        (M, D) and (M,).
    learn
        Fits a classifier and predicts the classes of the examples it was fitted on.
    rounds
        Their number.

    References
    ----------
    Dai, Yang, Xue and Yu, Boosting for Transfer Learning, ICML 2007, algorithm 1.
    """
    features, classes, of_source = _joined(source, source_classes, target, target_classes)
    weights = np.ones(len(features))
    shrink = 1 / (1 + np.sqrt(2 * np.log(max(2, len(source))) / rounds))
    errors = []
    for _ in range(rounds):
        wrong = (learn(features, classes, weights / weights.sum()) != classes).astype(np.float64)
        error = float(weights[~of_source] @ wrong[~of_source] / weights[~of_source].sum())
        errors.append(error)
        limited = min(max(error, _SMALLEST_ERROR), 0.499)
        grow = (1 - limited) / limited
        weights = weights * np.where(of_source, shrink, grow) ** wrong
        weights /= weights.max()
    return Boosted(normalized(weights[of_source]), _relative(weights, of_source), tuple(errors))


def tradaboost_r2(
    source: Floats,
    source_values: Floats,
    target: Floats,
    target_values: Floats,
    learn: Learner,
    rounds: int = 10,
) -> Boosted:
    """Weight source examples by the first stage of two-stage TrAdaBoost.R2 for values.

    In each round source examples lose weight by β^e with e their error relative to the largest, where β is
    such that the share of the target in the weights grows linearly from M / (N + M) to 1 over `rounds`; the
    target's examples keep theirs. The weights of the round with the lowest error of target examples, in turn
    held out, are returned.

    Parameters
    ----------
    source, source_values
        (N, D) and (N, K).
    target, target_values
        (M, D) and (M, K).
    learn
        Fits a regression and predicts the values of the examples; examples of weight 0 don't count.
    rounds
        Their number.

    References
    ----------
    Pardoe and Stone, Boosting for Regression Transfer, ICML 2010, algorithm 3.
    """
    features, values, of_source = _joined(source, source_values, target, target_values)
    rows, others = len(source), len(target)
    weights = np.ones(len(features)) / len(features)
    tried = []
    for number in range(rounds):
        tried.append((_held_out_error(features, values, weights, of_source, learn), weights))
        distance = np.abs(learn(features, values, weights) - values).reshape(len(values), -1).max(axis=1)
        relative = distance / (distance.max() or 1.0)
        wanted = others / (rows + others) + (number + 1) / rounds * (1 - others / (rows + others))
        weights = _with_target_share(weights, relative, of_source, min(wanted, 0.999))
    error, best = min(tried, key=lambda pair: pair[0])
    del error
    errors = tuple(error for error, _ in tried)
    return Boosted(normalized(best[of_source]), _relative(best, of_source), errors)


def _joined(
    source: Floats, source_targets: npt.NDArray[Any], target: Floats, targets: npt.NDArray[Any]
) -> tuple[Floats, npt.NDArray[Any], npt.NDArray[np.bool_]]:
    if not len(source) or not len(target):
        raise ValueError("TrAdaBoost needs labelled examples of both domains")
    of_source = np.repeat([True, False], [len(source), len(target)])
    return np.concatenate([source, target]), np.concatenate([source_targets, targets]), of_source


def _relative(weights: Weights, of_source: npt.NDArray[np.bool_]) -> Weights:
    """Weights of the target on the scale on which those of the source have the mean 1."""
    return weights[~of_source] / max(float(weights[of_source].mean()), 1e-12)


def _held_out_error(
    features: Floats,
    values: npt.NDArray[Any],
    weights: Weights,
    of_source: npt.NDArray[np.bool_],
    learn: Learner,
    folds: int = 5,
) -> float:
    """Mean absolute error of target examples, each predicted by a learner to which it had no weight."""
    target = np.flatnonzero(~of_source)
    errors = np.zeros(len(target))
    for fold in range(min(folds, len(target))):
        held = np.arange(len(target)) % folds == fold
        without = weights.copy()
        without[target[held]] = 0
        predicted = learn(features, values, without / without.sum())
        differences = np.abs(predicted - values).reshape(len(values), -1).mean(axis=1)
        errors[held] = differences[target[held]]
    return float(errors.mean())


def _with_target_share(
    weights: Weights, relative: Weights, of_source: npt.NDArray[np.bool_], wanted: float
) -> Weights:
    """Reduce source weights by β^error so that the target has the `wanted` share, β found by bisection."""
    low, high = 0.0, 1.0
    for _ in range(60):
        beta = (low + high) / 2
        changed = np.where(of_source, weights * beta**relative, weights)
        if changed[~of_source].sum() / changed.sum() > wanted:
            low = beta
        else:
            high = beta
    changed = np.where(of_source, weights * high**relative, weights)
    found: Weights = changed / changed.sum()
    return found
