"""Minimum class confusion: a linear classifier of the source that separates the classes of the target."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transfer_core.kinds.arrays import Floats, Integers, domains
from transfer_core.kinds.linear import LinearModel, fit_softmax, minimize, softmax

_TINY = 1e-12


def minimum_class_confusion(
    source: npt.ArrayLike,
    classes: Integers,
    target: npt.ArrayLike,
    count: int,
    strength: float = 1.0,
    penalty: float = 1e-2,
    weights: Floats | None = None,
    temperature: float = 1.0,
) -> LinearModel:
    """Fit softmax regression with the confusion of classes in the target as additional loss.

    Minimizes cross-entropy(source) + `strength` · confusion(target) + `penalty` / 2 |W|², from the minimum
    without confusion. Confusion is the mean share, off the diagonal, of the class correlations
    Ŷᵀ diag(w) Ŷ of the predictions Ŷ, whose rows are weighted by their certainty.

    Parameters
    ----------
    source, target
        (N, D) and (M, D) features.
    classes
        (N,) classes of the source, 0 to `count` - 1.
    count
        The number of classes K.
    strength, penalty
        Weights of the confusion and of the L2 penalty.
    weights
        (N,) weights of the source. Default: equal.
    temperature
        Divides the outputs for the target.

    References
    ----------
    Jin, Wang, Long and Wang, Minimum Class Confusion for Versatile Domain Adaptation, ECCV 2020, equations 3
    to 6.
    """
    source, target = domains(source, target)
    start = fit_softmax(source, classes, count, weights, penalty)
    first, second = ((part - start.mean) / start.scale for part in (source, target))
    shares = np.ones(len(source)) if weights is None else np.asarray(weights, np.float64)
    shares = (shares / shares.sum()).astype(source.dtype)
    truth = np.eye(count, dtype=source.dtype)[classes]
    size = source.shape[1] * count

    def objective(point: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        weight, bias = point[:size].reshape(-1, count).astype(source.dtype), point[size:].astype(source.dtype)
        fitted, predicted = softmax(first @ weight + bias), softmax((second @ weight + bias) / temperature)
        confused, slope = confusion(predicted)
        back = strength / temperature * predicted * (slope - (slope * predicted).sum(axis=1, keepdims=True))
        errors = (fitted - truth) * shares[:, None]
        likelihood = np.log(np.maximum(fitted[np.arange(len(truth)), classes], _TINY))
        gradient = first.T @ errors + second.T @ back + penalty * weight
        bias_gradient = errors.sum(axis=0) + back.sum(axis=0)
        loss = (
            -float(shares @ likelihood) + strength * confused + penalty / 2 * float(np.square(weight).sum())
        )
        return loss, np.concatenate([gradient.ravel(), bias_gradient]).astype(np.float64)

    found = minimize(objective, np.concatenate([start.weight.ravel(), start.bias]).astype(np.float64))
    weight = found[:size].reshape(-1, count).astype(source.dtype)
    return LinearModel(start.mean, start.scale, weight, found[size:].astype(source.dtype))


def confusion(predicted: Floats) -> tuple[float, Floats]:
    """Class confusion of probabilities (M, K), and its gradient, with the weights of rows held constant."""
    rows, count = predicted.shape
    entropy = -(predicted * np.log(np.maximum(predicted, _TINY))).sum(axis=1)
    certainty = 1 + np.exp(-entropy)
    weighted = predicted * (certainty * rows / certainty.sum())[:, None]
    together = predicted.T @ weighted
    sums = together.sum(axis=1, keepdims=True)
    apart = 1 - np.eye(count, dtype=predicted.dtype)
    share = (apart * together).sum(axis=1, keepdims=True) / sums
    slope = (apart - share) / (sums * count)
    gradient: Floats = weighted @ (slope + slope.T)
    return float(share.sum() / count), gradient
