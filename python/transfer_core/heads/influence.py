"""Influence of training examples on an output of a linear head (Koh and Liang 2017)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from transfer_core.tasks.criteria import CLASSES, LABELS, VALUES, Array, Criterion, sigmoid, softmax

Linear: TypeAlias = Callable[[Array], Array]

_MOST_STEPS, _TOLERANCE = 1000, 1e-6


class Fitted(NamedTuple):
    """A linear head at the minimum of (1/N) sum_n loss_n + sum_kd penalty_d weight_kd² / 2.

    Attributes
    ----------
    examples
        (M, D) float64, a sample of the N training examples.
    targets
        (M,) or (M, K), as the criterion takes them.
    outputs
        (M, K) float64 of the head for the examples.
    penalty
        (D,) float64.
    fitted_on
        N.
    criterion
        The loss.
    """

    examples: Array
    targets: Array
    outputs: Array
    penalty: Array
    fitted_on: int
    criterion: Criterion


def influences(fitted: Fitted, features: Array, slope: Array) -> Array:
    """Estimated change (M,) of a score by having each example in the training.

    -(1/N) ∇score' H⁻¹ ∇loss_m, with H the Hessian of the objective, estimated on the M examples and inverted
    by conjugate gradients. Positive: without the example, the score would be lower.

    Parameters
    ----------
    fitted
        The head.
    features
        (D,) of the input.
    slope
        (K,) derivative of the score by the outputs.
    """
    mean = fitted.examples.mean(axis=0)
    # Biases are not penalized, so that centred features have the same minimum.
    rows = np.append(fitted.examples - mean, np.ones((len(fitted.examples), 1)), axis=1)
    own = np.append(features.astype(np.float64) - mean, 1.0)
    penalty = np.append(fitted.penalty, 0.0)
    curved = _curvature(fitted.criterion.layout, fitted.outputs)

    def hessian(direction: Array) -> Array:
        product: Array = curved(rows @ direction.T).T @ rows / len(rows) + penalty * direction
        return product

    diagonal = np.square(rows).mean(axis=0) * _mean_curvature(fitted) + penalty
    solution = _conjugate_gradients(hessian, np.outer(slope, own), np.maximum(diagonal, 1e-12))
    columns = np.array(fitted.outputs.T[None], order="C")
    gradients = fitted.criterion.terms(columns, fitted.targets, None)[1][0]  # (K, M)
    found: Array = -np.einsum("km,mk->m", gradients, rows @ solution.T) / fitted.fitted_on
    return found


def slope_of(layout: int, outputs: Array, place: int) -> Array:
    """Derivative (K,), by outputs (K,), of the log probability of class or label `place`, or of its value."""
    own = np.zeros(len(outputs))
    own[place] = 1.0
    if layout == CLASSES:
        own -= softmax(outputs[None])[0]
    elif layout == LABELS:
        own *= 1 - sigmoid(outputs)
    return own


def _curvature(layout: int, outputs: Array) -> Linear:
    """The second derivative of the losses by outputs (M, K), as a function of a direction (M, K)."""
    if layout == VALUES:
        return lambda direction: direction
    if layout == LABELS:
        p = sigmoid(outputs)
        return lambda direction: p * (1 - p) * direction
    p = softmax(outputs)
    return lambda direction: p * (direction - (p * direction).sum(axis=1, keepdims=True))


def _mean_curvature(fitted: Fitted) -> float:
    return float(fitted.criterion.hessian(fitted.outputs, None).mean())


def _conjugate_gradients(product: Linear, wanted: Array, diagonal: Array) -> Array:
    """Solve product(x) = wanted (K, D) with a diagonal (D,) as preconditioner (Hestenes and Stiefel 1952)."""
    found = np.zeros_like(wanted)
    residual = wanted.copy()
    scaled = residual / diagonal
    direction, size = scaled, float((residual * scaled).sum())
    least = _TOLERANCE**2 * size
    for _ in range(_MOST_STEPS):
        if size <= least:
            break
        ahead = product(direction)
        curvature = float((direction * ahead).sum())
        if curvature <= 0:
            break
        found += size / curvature * direction
        residual -= size / curvature * ahead
        scaled = residual / diagonal
        before, size = size, float((residual * scaled).sum())
        direction = scaled + size / before * direction
    return found
