"""Metrics of regression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer_core.metrics.arrays import Floats, as_matrix, check_same_length
from transfer_core.metrics.bootstrap import interval, resampled_counts

# A variance this small next to the largest squared deviation is rounding: the targets are constant.
ROUNDING = 1e-14


def regression_metrics(
    predictions: npt.ArrayLike,
    targets: npt.ArrayLike,
    names: Sequence[str],
    train_targets: npt.ArrayLike,
    seed: int,
) -> dict[str, Any]:
    """Compute R², mean absolute error and root mean squared error.

    Each metric is the mean over the K outputs, as scikit-learn's `uniform_average`; `per_output` has each.
    For constant targets R² is 1 for perfect predictions and 0 for all others.

    Parameters
    ----------
    predictions, targets
        (N, K).
    names
        K names of the outputs.
    train_targets
        (M, K) training targets; the baseline predicts their mean.
    seed
        Seed of the bootstrap behind `intervals`.

    Returns
    -------
    `r2`, `mae`, `rmse`, `per_output`, `baseline`, `intervals` and `examples`: floats, integers, strings,
    lists and dicts, never NaN.

    Raises
    ------
    ValueError
        Wrong shapes, no examples, or numbers that are not finite.

    Examples
    --------
    >>> metrics = regression_metrics([[1.0], [2.0], [4.0]], [[1.0], [2.0], [3.0]], ["age"], [[2.0]], seed=0)
    >>> metrics["r2"], round(metrics["mae"], 3), metrics["baseline"]["mae"] == 2 / 3
    (0.5, 0.333, True)
    """
    outputs = len(names)
    predicted = as_matrix(predictions, outputs, "predictions")
    truth = as_matrix(targets, outputs, "targets")
    trained = as_matrix(train_targets, outputs, "train_targets")
    check_same_length(predicted, truth)

    moments = _moments(predicted, truth)
    r2, mae, rmse = _scores(moments.mean(axis=0), _rounding(truth))
    _, base_mae, base_rmse = _scores(_moments(trained.mean(axis=0), truth).mean(axis=0), _rounding(truth))
    return {
        "r2": float(r2.mean()),
        "mae": float(mae.mean()),
        "rmse": float(rmse.mean()),
        "per_output": [
            {"name": name, "r2": float(a), "mae": float(b), "rmse": float(c)}
            for name, a, b, c in zip(names, r2, mae, rmse, strict=True)
        ],
        "baseline": {"mae": float(base_mae.mean()), "rmse": float(base_rmse.mean())},
        "intervals": _intervals(moments, _rounding(truth), seed),
        "examples": len(truth),
    }


def _moments(predicted: Floats, truth: Floats) -> Floats:
    """Sufficient statistics of every metric, (N, 4, K): |e|, e², y - ȳ and (y - ȳ)²."""
    error = predicted - truth
    centred = truth - truth.mean(axis=0)
    return np.stack([np.abs(error), error**2, centred, centred**2], axis=1)


def _rounding(truth: Floats) -> Floats:
    """Variance up to which targets count as constant, (K,)."""
    limit: Floats = ROUNDING * ((truth - truth.mean(axis=0)) ** 2).max(axis=0)
    return limit


def _scores(means: Floats, rounding: Floats) -> tuple[Floats, Floats, Floats]:
    """R², MAE and RMSE, each (..., K), from the mean moments (..., 4, K)."""
    absolute, squared, deviation, deviation_squared = np.moveaxis(means, -2, 0)
    variance = deviation_squared - deviation**2
    constant = variance <= rounding
    r2 = np.where(constant, np.where(squared == 0, 1.0, 0.0), 1 - squared / np.where(constant, 1.0, variance))
    return r2, absolute, np.sqrt(squared)


def _intervals(moments: Floats, rounding: Floats, seed: int) -> dict[str, list[float]]:
    n = len(moments)
    flat = moments.reshape(n, -1)
    means = np.concatenate([counts @ flat / n for counts in resampled_counts(np.arange(n), seed)])
    scores = _scores(means.reshape(-1, *moments.shape[1:]), rounding)
    return {
        name: interval(values.mean(axis=1))
        for name, values in zip(("r2", "mae", "rmse"), scores, strict=True)
    }
