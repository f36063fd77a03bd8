"""Batched L-BFGS: each row of `x` is a separate problem.

The folds of a cross-validation share each matrix product, which makes the choice of a regularization strength
cheap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

Objective: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]


# Steps without a lower loss before a row is stopped: rounding may hide the progress of some.
PATIENCE = 5


class Point(NamedTuple):
    """`x` (B, P) with its losses (B,) and gradients (B, P)."""

    x: Tensor
    loss: Tensor
    gradient: Tensor


class Pair(NamedTuple):
    """Correction pair of L-BFGS.

    A `step` (B, P) and the `change` of the gradient (B, P); `inverse` is 1 / (step · change) (B,), 0 for
    unusable pairs, and `scale` is (step · change) / |change|² (B,).
    """

    step: Tensor
    change: Tensor
    inverse: Tensor
    scale: Tensor


def minimize(
    objective: Objective,
    x: Tensor,
    tolerance: float,
    max_iterations: int = 500,
    history: int = 5,
) -> Tensor:
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
    Tensor
        (B, P), the final point of each row.

    References
    ----------
    Nocedal and Wright, Numerical Optimization (2006), algorithms 7.4 and 7.5, with backtracking to
    the Armijo condition (3.4); pairs without positive curvature are skipped.
    """
    here = Point(x, *objective(x))
    pairs: deque[Pair] = deque(maxlen=history)
    stuck = torch.zeros_like(here.loss, dtype=torch.bool)
    lowest, since_lowest = here.loss, torch.zeros_like(here.loss)
    for _ in range(max_iterations):
        active = (0.5 * here.gradient.square().sum(dim=1) > tolerance * here.loss.abs()) & ~stuck
        if not active.any():
            break
        there = _backtrack(objective, here, _direction(here.gradient, pairs), active)
        since_lowest = torch.where(there.loss < lowest, 0, since_lowest + 1)
        lowest = torch.minimum(lowest, there.loss)
        stuck |= (there.loss == here.loss) | (since_lowest > PATIENCE)
        pairs.append(_pair(here, there))
        here = there
    return here.x


def _pair(here: Point, there: Point) -> Pair:
    step, change = there.x - here.x, there.gradient - here.gradient
    curvature = (step * change).sum(dim=1)
    usable = curvature > 1e-10 * step.norm(dim=1) * change.norm(dim=1)
    scale = curvature / change.square().sum(dim=1)
    return Pair(step, change, torch.where(usable, 1 / curvature, 0.0), scale)


def _direction(gradient: Tensor, pairs: deque[Pair]) -> Tensor:
    """Return the direction -H g of each row (Nocedal and Wright, algorithm 7.4, H_0 as in 7.20).

    Without a usable pair it is the negative gradient, limited to length 1.
    """
    scale = 1 / gradient.norm(dim=1).clamp_min(1)
    q = gradient.clone()
    alphas = []
    for pair in reversed(pairs):
        alpha = pair.inverse * (pair.step * q).sum(dim=1)
        q -= alpha[:, None] * pair.change
        alphas.append(alpha)
    for pair in pairs:
        scale = torch.where(pair.inverse > 0, pair.scale, scale)
    q *= scale[:, None]
    for pair, alpha in zip(pairs, reversed(alphas), strict=True):
        beta = pair.inverse * (pair.change * q).sum(dim=1)
        q += (alpha - beta)[:, None] * pair.step
    return -q


def _backtrack(objective: Objective, here: Point, direction: Tensor, active: Tensor, most: int = 12) -> Point:
    """Halve each active row's step until its loss falls enough; rows whose loss never does are unchanged.

    If the loss changes by no more than rounding, its slope decides, which is more precise (Hager and Zhang
    2005, A new conjugate gradient method, equation 4.1).
    """
    slope = (direction * here.gradient).sum(dim=1)
    length = torch.ones_like(slope)
    rounding = 8 * torch.finfo(here.x.dtype).eps
    waiting = active
    there = here
    for _ in range(most):
        trial = torch.where(waiting[:, None], here.x + length[:, None] * direction, there.x)
        loss, gradient = objective(trial)
        falls = loss <= here.loss + 1e-4 * length * slope
        flat = (loss - here.loss).abs() <= rounding * here.loss.abs()
        flattens = (direction * gradient).sum(dim=1) <= (2e-4 - 1) * slope
        accepted = waiting & (falls | flat & flattens)
        there = Point(
            torch.where(accepted[:, None], trial, there.x),
            torch.where(accepted, loss, there.loss),
            torch.where(accepted[:, None], gradient, there.gradient),
        )
        waiting = waiting & ~accepted
        if not waiting.any():
            break
        length = torch.where(waiting, length / 2, length)
    return there
