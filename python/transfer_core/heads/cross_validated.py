"""The default head: a linear layer fitted to convergence, its L2 strength chosen by cross-validation.

Minimises, over W (K, D) and b (K,),

    sum_n w_n loss(W x_n + b, y_n) / sum_n w_n + strength / 2 |W|²

with x standardised features, and cross-entropy or half the squared error as the loss. Both are convex, so
there is nothing to tune: no learning rate, no number of epochs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from transfer_core.heads.axes import principal_axes
from transfer_core.heads.linear_problem import LinearProblems, linear_problems
from transfer_core.heads.rows import Rows, fold_of
from transfer_core.progress import Progress
from transfer_core.training import weighted_loss

STRENGTHS = tuple(10.0**e for e in (1, 0.5, 0, -0.5, -1, -1.5, -2, -2.5, -3, -3.5, -4))

# So many held-out examples tell strengths apart; with more examples than that, fewer folds are fitted.
ENOUGH_HELD_OUT = 1000

# The gradient's norm as a share of the loss. Strengths are compared in single precision; the fit that stays,
# in double, gives probabilities within 0.001 of the exact minimum's.
COMPARED, CONVERGED = 3e-3, 1e-3


@dataclass(frozen=True)
class LinearFit:
    """`weight` (K, D) and `bias` (K,) on standardised features.

    `held_out` (M, K) are outputs for rows with `held_out_targets`, each from a fit that did not see its row.
    `path` has strength and held-out loss, one entry per strength that was tried.
    """

    weight: Tensor
    bias: Tensor
    strength: float
    held_out: Tensor
    held_out_targets: Tensor
    path: list[dict[str, float]]


@dataclass(frozen=True)
class Candidate:
    """What B folds say about one strength: their `coefficients` (B, K, R + 1), the outputs (M, K) for what
    they left out, its loss, and the loss's mean second derivative with respect to an output."""

    strength: float
    coefficients: Tensor
    held_out: Tensor
    loss: float
    curvature: float


def fit_linear(rows: Rows, outputs: int, folds: int, seed: int, progress: Progress) -> LinearFit:
    """Fit `rows`, at least two examples with standardised features, for the strength with the lowest
    held-out loss."""
    axes = principal_axes(rows.features)
    left_out = _left_out_rows(rows, folds, seed)
    held_out = _first_views(left_out, rows)
    without = linear_problems(rows, axes, _weights_without(left_out, rows), outputs, torch.float32)
    path = _walk(without, rows, held_out, progress)
    best = min(path, key=lambda candidate: candidate.loss)
    everything = linear_problems(rows, axes, rows.weights[None], outputs, torch.float64)
    start = best.coefficients.double().mean(dim=0, keepdim=True)
    solution = everything.solve(best.strength, start, best.curvature, CONVERGED)[0]
    progress.advance("train", len(STRENGTHS), len(STRENGTHS), "strengths")
    return LinearFit(
        weight=(solution[:, :-1] @ axes.basis.T).float(),
        bias=solution[:, -1].float(),
        strength=best.strength,
        held_out=best.held_out,
        held_out_targets=rows.targets[torch.cat(held_out)],
        path=[{"strength": tried.strength, "validation_loss": tried.loss} for tried in path],
    )


def _walk(
    problems: LinearProblems, rows: Rows, held_out: list[Tensor], progress: Progress
) -> list[Candidate]:
    """Try the strengths from strong to weak, each fit starting from the last, all folds in one batched
    solve, until the held-out loss is 1 % above its lowest: it has one valley."""
    path: list[Candidate] = []
    left_out = torch.cat(held_out)
    coefficients = problems.zeros()
    curvature = _curvature(torch.zeros(1, problems.truth.shape[1]), rows)
    for i, strength in enumerate(STRENGTHS):
        progress.advance("train", i, len(STRENGTHS), "strengths")
        coefficients = problems.solve(strength, coefficients, curvature, COMPARED)
        output = torch.cat([problems.z[out] @ w.T for out, w in zip(held_out, coefficients, strict=True)])
        curvature = _curvature(output, rows)
        loss = float(weighted_loss(output, rows.targets[left_out], rows.weights[left_out]))
        path.append(Candidate(strength, coefficients, output, loss, curvature))
        if loss > 1.01 * min(candidate.loss for candidate in path):
            break
    return path


def _left_out_rows(rows: Rows, folds: int, seed: int) -> list[Tensor]:
    """The rows that each fold leaves out, for as many folds as it takes to leave out enough."""
    examples = len(torch.unique(rows.groups))
    folds = min(folds, examples)
    fold = fold_of(rows, folds, seed)
    fitted = min(folds, math.ceil(ENOUGH_HELD_OUT / (examples / folds)))
    return [(fold == k).nonzero().flatten() for k in range(fitted)]


def _first_views(left_out: list[Tensor], rows: Rows) -> list[Tensor]:
    """Those of the rows that show an example as it is in use; an example's views stand together."""
    first = torch.ones(len(rows), dtype=torch.bool)
    first[1:] = rows.groups[1:] != rows.groups[:-1]
    return [left[first[left]] for left in left_out]


def _weights_without(left_out: list[Tensor], rows: Rows) -> Tensor:
    """The rows' weights (B, N), 0 for what a fold leaves out."""
    weights = rows.weights.repeat(len(left_out), 1)
    for fold, left in zip(weights, left_out, strict=True):
        fold[left] = 0
    return weights


def _curvature(output: Tensor, rows: Rows) -> float:
    """The mean second derivative of the loss with respect to an output: p (1 - p) for cross-entropy."""
    if not rows.is_classification:
        return 1.0
    probability = output.softmax(dim=1)
    return float((probability * (1 - probability)).mean())
