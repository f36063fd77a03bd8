"""Weighted linear models: softmax regression by L-BFGS, ridge regression in closed form."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from transfer_core.kinds.arrays import Floats, Integers

Vector: TypeAlias = npt.NDArray[np.float64]

_MOST_ITERATIONS = 200
_MEMORY = 8
_CONVERGED = 1e-5


@dataclass(frozen=True)
class LinearModel:
    """Outputs `(x - mean) / scale @ weight + bias` with `weight` (D, K) and `bias` (K,)."""

    mean: Floats
    scale: Floats
    weight: Floats
    bias: Floats

    def outputs(self, features: Floats) -> Floats:
        """Outputs (N, K) for features (N, D)."""
        weight, bias = self.layer()
        found: Floats = features @ weight.T + bias
        return found

    def layer(self) -> tuple[Floats, Floats]:
        """Weight (K, D) and bias (K,) of the same outputs for features as they are."""
        weight = self.weight / self.scale[:, None]
        return weight.T, self.bias - self.mean @ weight


def softmax(outputs: Floats) -> Floats:
    """Probabilities of each row."""
    shifted = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    found: Floats = shifted / shifted.sum(axis=1, keepdims=True)
    return found


def fit_softmax(
    features: Floats,
    classes: Integers,
    count: int,
    weights: Floats | None = None,
    strength: float = 1e-2,
    start: LinearModel | None = None,
) -> LinearModel:
    """Fit softmax regression on standardized features.

    Minimizes Σ w_n cross-entropy_n / Σ w_n + strength / 2 |W|².

    Parameters
    ----------
    features
        (N, D).
    classes
        (N,), 0 to `count` - 1.
    count
        The number of classes K.
    weights
        (N,), not negative. Default: equal.
    strength
        Strength of the L2 penalty.
    start
        A model of the same features to start from. Default: zero weights.
    """
    rows, width = features.shape
    weights = np.ones(rows) if weights is None else weights
    shares = (weights / weights.sum()).astype(features.dtype)
    mean, scale = (start.mean, start.scale) if start else standardization(features)
    scaled = (features - mean) / scale
    truth = np.zeros((rows, count), features.dtype)
    truth[np.arange(rows), classes] = 1

    def objective(point: Vector) -> tuple[float, Vector]:
        weight = point[: width * count].reshape(width, count).astype(features.dtype)
        outputs = scaled @ weight + point[width * count :].astype(features.dtype)
        outputs -= outputs.max(axis=1, keepdims=True)
        exponentials = np.exp(outputs)
        sums = exponentials.sum(axis=1)
        loss = shares @ (np.log(sums) - outputs[np.arange(rows), classes])
        slope = (exponentials / sums[:, None] - truth) * shares[:, None]
        gradient = np.concatenate([(scaled.T @ slope).ravel(), slope.sum(axis=0)]).astype(np.float64)
        gradient[: width * count] += strength * point[: width * count]
        return float(loss) + strength / 2 * float(np.square(point[: width * count]).sum()), gradient

    zero = np.zeros((width + 1) * count)
    here = np.concatenate([start.weight.ravel(), start.bias]).astype(np.float64) if start else zero
    found = minimize(objective, here).astype(features.dtype)
    return LinearModel(mean, scale, found[: width * count].reshape(width, count), found[width * count :])


def fit_ridge(
    features: Floats, values: Floats, weights: Floats | None = None, strength: float = 1e-2
) -> LinearModel:
    """Fit weighted ridge regression of `values` (N, K) on standardized features, in closed form.

    Minimizes Σ w_n |error_n|² / Σ w_n + strength |W|².
    """
    weights = np.ones(len(features)) if weights is None else weights
    shares = (weights / weights.sum()).astype(np.float64)
    mean, scale = standardization(features)
    scaled = ((features - mean) / scale).astype(np.float64)
    centre, middle = shares @ scaled, shares @ values
    centred = scaled - centre
    gram = (centred * shares[:, None]).T @ centred + strength * np.eye(features.shape[1])
    weight = np.linalg.solve(gram, (centred * shares[:, None]).T @ (values - middle))
    return LinearModel(mean, scale, weight, middle - centre @ weight)


def standardization(features: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation (D,) of each feature; 1 instead of a deviation of 0."""
    scale = features.std(axis=0)
    return features.mean(axis=0), np.where(scale > 1e-6 * max(float(scale.max()), 1e-30), scale, 1)


def minimize(objective: Callable[[Vector], tuple[float, Vector]], start: Vector) -> Vector:
    """Minimize a smooth convex function by L-BFGS with backtracking (Nocedal and Wright 2006, 7.4, 7.5, 3.4).

    Parameters
    ----------
    objective
        Maps a point (P,) to its loss and gradient (P,).
    start
        (P,).
    """
    here, (loss, gradient) = start, objective(start)
    pairs: deque[tuple[Vector, Vector]] = deque(maxlen=_MEMORY)
    for _ in range(_MOST_ITERATIONS):
        if np.abs(gradient).max() <= _CONVERGED:
            break
        direction = _direction(gradient, pairs)
        slope, length = float(direction @ gradient), 1.0
        for _ in range(20):
            there = here + length * direction
            loss_there, gradient_there = objective(there)
            if loss_there <= loss + 1e-4 * length * slope:
                break
            length /= 2
        else:
            break
        step, change = there - here, gradient_there - gradient
        if step @ change > 1e-10 * float(np.linalg.norm(step) * np.linalg.norm(change)):
            pairs.append((step, change))
        stalled = loss - loss_there <= 1e-7 * abs(loss)
        here, loss, gradient = there, loss_there, gradient_there
        if stalled:
            break
    return here


def _direction(gradient: Vector, pairs: deque[tuple[Vector, Vector]]) -> Vector:
    direction, factors = -gradient, []
    for step, change in reversed(pairs):
        factors.append(float(step @ direction) / float(step @ change))
        direction = direction - factors[-1] * change
    if pairs:
        step, change = pairs[-1]
        direction = direction * (float(step @ change) / float(change @ change))
    else:
        direction = direction / max(1.0, float(np.linalg.norm(gradient)))
    for (step, change), factor in zip(pairs, reversed(factors), strict=True):
        direction = direction + (factor - float(change @ direction) / float(step @ change)) * step
    return direction
