"""Batched L-BFGS: each row of `x` is a separate problem.

The folds of a cross-validation share each matrix product, which makes the choice of a regularization strength
cheap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from transfer_core.tasks.criteria import Array

Objective: TypeAlias = Callable[[Array], tuple[Array, Array]]

# Steps without a lower loss before a row is stopped: rounding may hide the progress of some.
PATIENCE = 5


class Point(NamedTuple):
    """`x` (B, P) with its losses (B,) and gradients (B, P)."""

    x: Array
    loss: Array
    gradient: Array


class Pair(NamedTuple):
    """Correction pair of L-BFGS.

    A `step` (B, P) and the `change` of the gradient (B, P); `inverse` is 1 / (step · change) (B,), 0 for
    unusable pairs, and `scale` is (step · change) / |change|² (B,).
    """

    step: Array
    change: Array
    inverse: Array
    scale: Array


# A row whose loss is not finite is stopped; unusable pairs are masked.
@np.errstate(over="ignore", divide="ignore", invalid="ignore")
def minimize(
    objective: Objective,
    x: Array,
    tolerance: float,
    max_iterations: int = 500,
    history: int = 5,
) -> Array:
    """Minimize `objective` over each row of `x`.

    Parameters
    ----------
    objective
        Maps x (B, P) to the losses (B,) and their gradients (B, P); row b depends on x[b] alone. It
        should be scaled so that a step of length 1 is a sensible one to try.
    x
        (B, P), the starting points.
    tolerance
        A row has converged when half the squared norm of its gradient is at most this share of its loss: the
        possible gain if the Hessian is the identity. A row also stops when rounding prevents a lower loss.

    Returns
    -------
    Array
        (B, P), the final point of each row.

    References
    ----------
    Nocedal and Wright, Numerical Optimization (2006), algorithms 7.4 and 7.5, with backtracking to
    the Armijo condition (3.4); pairs without positive curvature are skipped.
    """
    here = Point(x, *objective(x))
    pairs: deque[Pair] = deque(maxlen=history)
    stuck = np.zeros(len(x), bool)
    lowest, since_lowest = here.loss, np.zeros(len(x), np.int64)
    for _ in range(max_iterations):
        active = (0.5 * _dot(here.gradient, here.gradient) > tolerance * np.abs(here.loss)) & ~stuck
        if not active.any():
            break
        there = _backtrack(objective, here, _direction(here.gradient, pairs), active)
        since_lowest = np.where(there.loss < lowest, 0, since_lowest + 1)
        lowest = np.minimum(lowest, there.loss)
        stuck |= (there.loss == here.loss) | (since_lowest > PATIENCE)
        pairs.append(_pair(here, there))
        here = there
    return here.x


def _dot(a: Array, b: Array) -> Array:
    """Return the products (B,) of rows (B, P)."""
    return np.array([np.dot(*rows) for rows in zip(a, b, strict=True)], a.dtype)


def _pair(here: Point, there: Point) -> Pair:
    step, change = there.x - here.x, there.gradient - here.gradient
    curvature, squared = _dot(step, change), _dot(change, change)
    usable = curvature > 1e-10 * np.sqrt(_dot(step, step) * squared)
    return Pair(step, change, np.where(usable, 1 / curvature, 0), curvature / squared)


def _direction(gradient: Array, pairs: deque[Pair]) -> Array:
    """Return the direction -H g of each row (Nocedal and Wright, algorithm 7.4, H_0 as in 7.20).

    Without a usable pair it is the negative gradient, limited to length 1.
    """
    scale = 1 / np.maximum(np.sqrt(_dot(gradient, gradient)), 1)
    q = gradient.copy()
    alphas = []
    for pair in reversed(pairs):
        alpha = pair.inverse * _dot(pair.step, q)
        q -= alpha[:, None] * pair.change
        alphas.append(alpha)
    for pair in pairs:
        scale = np.where(pair.inverse > 0, pair.scale, scale)
    q *= scale[:, None]
    for pair, alpha in zip(pairs, reversed(alphas), strict=True):
        beta = pair.inverse * _dot(pair.change, q)
        q += (alpha - beta)[:, None] * pair.step
    return -q


def _backtrack(objective: Objective, here: Point, direction: Array, active: Array, most: int = 12) -> Point:
    """Halve each active row's step until its loss falls enough; rows whose loss never does are unchanged.

    If the loss changes by no more than rounding, its slope decides, which is more precise (Hager and Zhang
    2005, A new conjugate gradient method, equation 4.1).
    """
    slope = _dot(direction, here.gradient)
    length = np.ones_like(slope)
    rounding = 8 * np.finfo(here.x.dtype).eps
    waiting = active
    there = here
    for _ in range(most):
        trial = np.where(waiting[:, None], here.x + length[:, None] * direction, there.x)
        loss, gradient = objective(trial)
        falls = loss <= here.loss + 1e-4 * length * slope
        flat = np.abs(loss - here.loss) <= rounding * np.abs(here.loss)
        flattens = _dot(direction, gradient) <= (2e-4 - 1) * slope
        accepted = waiting & (falls | flat & flattens)
        there = Point(
            np.where(accepted[:, None], trial, there.x),
            np.where(accepted, loss, there.loss),
            np.where(accepted[:, None], gradient, there.gradient),
        )
        waiting = waiting & ~accepted
        if not waiting.any():
            break
        length = np.where(waiting, length / 2, length)
    return there
