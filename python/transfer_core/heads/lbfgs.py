"""L-BFGS for many small problems at once: every row of `x` is a problem of its own.

Batching is what makes choosing a regularisation strength by cross-validation almost free: the folds
share each matrix product.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

Objective = Callable[[Tensor], tuple[Tensor, Tensor]]


def minimize(
    objective: Objective,
    x: Tensor,
    max_iterations: int = 500,
    tolerance: float = 1e-4,
    history: int = 10,
) -> Tensor:
    """Minimise `objective` over each row of `x`.

    Parameters
    ----------
    objective
        Maps x (B, P) to the losses (B,) and their gradients (B, P); row b depends on x[b] alone.
    x
        (B, P), where to start.
    tolerance
        A row is done when its largest gradient entry is at most this share of what it was at the
        start, or when a step lowers its loss by less than the precision of its dtype can tell.

    Returns
    -------
    Tensor
        (B, P), the best point of each row.

    References
    ----------
    Nocedal and Wright, Numerical Optimization (2006), algorithms 7.4 and 7.5, with backtracking to
    the Armijo condition (3.4); pairs without positive curvature are left out.
    """
    loss, gradient = objective(x)
    enough = tolerance * gradient.abs().amax(dim=1).clamp_min(1e-12)
    pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=history)
    noise = 8 * torch.finfo(x.dtype).eps
    stuck = torch.zeros_like(loss, dtype=torch.bool)
    for _ in range(max_iterations):
        active = (gradient.abs().amax(dim=1) > enough) & ~stuck
        if not active.any():
            break
        direction = _two_loop(gradient, pairs)
        slope = (direction * gradient).sum(dim=1)
        uphill = slope >= 0
        direction = torch.where(uphill[:, None], -gradient, direction)
        slope = torch.where(uphill, -(gradient * gradient).sum(dim=1), slope)
        first = 1 / gradient.norm(dim=1).clamp_min(1) if not pairs else torch.ones_like(loss)
        new_x, new_loss, new_gradient, moved = _backtrack(
            objective, x, loss, gradient, direction, slope, first, active
        )
        stuck |= active & (loss - new_loss <= noise * loss.abs().clamp_min(1e-12))
        step, change = new_x - x, new_gradient - gradient
        curvature = (step * change).sum(dim=1)
        useful = moved & (curvature > 1e-10 * step.norm(dim=1) * change.norm(dim=1))
        inverse = torch.where(useful, 1 / curvature.clamp_min(1e-30), 0.0)
        pairs.append((step, change, inverse))
        x, loss, gradient = new_x, new_loss, new_gradient
    return x


def _two_loop(gradient: Tensor, pairs: deque[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """The direction -H g (Nocedal and Wright, algorithm 7.4) of each row."""
    q = gradient.clone()
    alphas = []
    for step, change, inverse in reversed(pairs):
        alpha = inverse * (step * q).sum(dim=1)
        q -= alpha[:, None] * change
        alphas.append(alpha)
    scale = torch.ones_like(gradient[:, 0])
    for step, change, inverse in pairs:
        known = inverse > 0
        newest = (step * change).sum(dim=1) / (change * change).sum(dim=1).clamp_min(1e-30)
        scale = torch.where(known, newest, scale)
    q *= scale[:, None]
    for (step, change, inverse), alpha in zip(pairs, reversed(alphas), strict=True):
        beta = inverse * (change * q).sum(dim=1)
        q += (alpha - beta)[:, None] * step
    return -q


def _backtrack(
    objective: Objective,
    x: Tensor,
    loss: Tensor,
    gradient: Tensor,
    direction: Tensor,
    slope: Tensor,
    length: Tensor,
    active: Tensor,
    most: int = 25,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Halve each row's step until its loss falls enough; rows that never do stay where they are."""
    waiting = active.clone()
    best_x, best_loss, best_gradient = x.clone(), loss.clone(), gradient.clone()
    for _ in range(most):
        trial = torch.where(waiting[:, None], x + length[:, None] * direction, best_x)
        trial_loss, trial_gradient = objective(trial)
        accepted = waiting & (trial_loss <= loss + 1e-4 * length * slope)
        best_x = torch.where(accepted[:, None], trial, best_x)
        best_loss = torch.where(accepted, trial_loss, best_loss)
        best_gradient = torch.where(accepted[:, None], trial_gradient, best_gradient)
        waiting &= ~accepted
        if not waiting.any():
            break
        length = torch.where(waiting, length / 2, length)
    return best_x, best_loss, best_gradient, active & ~waiting
