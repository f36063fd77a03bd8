"""The default head: a linear layer fitted to convergence, its L2 strength chosen by cross-validation.

Minimises, over W (K, D) and b (K,),

    sum_n w_n loss(W x_n + b, y_n) / sum_n w_n + strength / 2 |W|²

with x standardised features. The loss is cross-entropy for classes, half the squared error for values, and
the sum of the binary cross-entropies for labels. All are convex, so there is nothing to tune: no learning
rate, no number of epochs.

The squared error has a closed form that is not used: with the curvature known, L-BFGS needs but a few steps,
and no code of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from transfer_core.heads.coordinates import coordinates_of
from transfer_core.heads.curvature import Curvature
from transfer_core.heads.linear_problem import LinearProblems, linear_problems
from transfer_core.heads.pulse import Pulse
from transfer_core.heads.rows import Rows, fold_of
from transfer_core.progress import Progress
from transfer_core.training import weighted_loss

STRENGTHS = tuple(10.0**e for e in (1, 0.5, 0, -0.5, -1, -1.5, -2, -2.5, -3, -3.5, -4))

# And the fit that stays.
MOST_FITS = len(STRENGTHS) + 1

# So many held-out examples tell strengths apart; with more examples than that, fewer folds are fitted.
ENOUGH_HELD_OUT = 1000

# What may be left to gain, as a share of the loss: little enough to compare strengths, and for probabilities
# within 0.001 of the exact minimum's.
COMPARED, CONVERGED = 4e-6, 5e-9


@dataclass(frozen=True)
class LinearFit:
    """`weight` (K, D) and `bias` (K,) on features as they came.

    `held_out` (M, K) are outputs for rows with `held_out_targets`, each from a fit that did not see its row.
    `path` has strength and held-out loss, one entry per strength that was tried, the strongest first.
    """

    weight: Tensor
    bias: Tensor
    strength: float
    held_out: Tensor
    held_out_targets: Tensor
    path: list[dict[str, float]]


@dataclass(frozen=True)
class Candidate:
    """What B folds say about one strength: their `coefficients` (B, K, R + 1), the mean `loss` for the rows
    they left out, and the `curvature` they were fitted with."""

    coefficients: Tensor
    loss: float
    curvature: Curvature


def fit_linear(rows: Rows, outputs: int, folds: int, seed: int, progress: Progress) -> LinearFit:
    """Fit `rows`, at least two examples, for the strength with the lowest held-out loss."""
    progress.check()
    at = coordinates_of(rows.features)
    progress.check()
    left_out = _left_out_rows(rows, folds, seed)
    held_out = _first_views(left_out, rows)
    pulse = Pulse(progress, "train", MOST_FITS, "fits")
    without = linear_problems(rows, at, _weights_without(left_out, rows), outputs, pulse.check)
    tried = _search(without, rows, held_out, pulse)
    chosen = min(tried, key=lambda i: tried[i].loss)
    best = tried[chosen]
    everything = linear_problems(rows, at, rows.example_weights[None], outputs, pulse.check)
    start = best.coefficients.mean(dim=0, keepdim=True)
    curvature = everything.curvature(start[0], best.curvature)
    solution = everything.solve(STRENGTHS[chosen], start, curvature, CONVERGED)[0]
    weight, bias = at.on_features(solution[:, :-1], solution[:, -1])
    fits = zip(best.coefficients, held_out, strict=True)
    pulse.finish()
    return LinearFit(
        weight=weight,
        bias=bias,
        strength=STRENGTHS[chosen],
        held_out=torch.cat([without.output(coefficients, out) for coefficients, out in fits]),
        held_out_targets=rows.targets[torch.cat(held_out)],
        path=[{"strength": STRENGTHS[i], "validation_loss": tried[i].loss} for i in sorted(tried)],
    )


def _search(
    problems: LinearProblems, rows: Rows, held_out: list[Tensor], pulse: Pulse
) -> dict[int, Candidate]:
    """Strengths by their place in `STRENGTHS`: the lowest held-out loss and what it takes to know that it is.

    The loss has one valley. Every other strength is tried, from strong to weak, until the loss is 1 % above
    its lowest, or, where it levels off, the strength in between has the lowest. Then the strengths beside the
    best are. Each fit is of all folds in one batched solve.
    """
    tried: dict[int, Candidate] = {}

    def attempt(i: int) -> int:
        """Try a strength; returns the best so far."""
        pulse.next()
        start, known = _start(tried, i) or (problems.zeros(), None)
        curvature = problems.curvature(start.mean(dim=0), known)
        coefficients = problems.solve(STRENGTHS[i], start, curvature, COMPARED)
        tried[i] = Candidate(coefficients, _loss_of(problems, coefficients, rows, held_out), curvature)
        return min(tried, key=lambda j: tried[j].loss)

    best = attempt(0)
    for i in range(2, len(STRENGTHS), 2):
        best = attempt(i)
        if tried[i].loss > 1.01 * tried[best].loss:
            break
        if _levels_off(tried, i) and attempt(i - 1) == i - 1:
            return tried
    for i in (best + 1, best - 1):
        between = i not in tried and i - 1 in tried and i + 1 in tried
        if between and attempt(i) == i:
            break
    return tried


def _levels_off(tried: dict[int, Candidate], i: int) -> bool:
    """Whether the last step changed the loss by little, and by less than the one before."""
    if i < 4:
        return False
    first, second, third = (tried[j].loss for j in (i - 4, i - 2, i))
    return third > 0.9 * second and second - third < first - second


def _start(tried: dict[int, Candidate], i: int) -> tuple[Tensor, Curvature] | None:
    """Coefficients to start strength `i` from, and a curvature known nearby.

    Coefficients are smooth along the logarithm of the strength: the two next to it, or before it, tell.
    """
    if i - 1 in tried:
        return (tried[i - 1].coefficients + tried[i + 1].coefficients) / 2, tried[i - 1].curvature
    if i - 4 in tried:
        return 2 * tried[i - 2].coefficients - tried[i - 4].coefficients, tried[i - 2].curvature
    return (tried[i - 2].coefficients, tried[i - 2].curvature) if tried else None


def _loss_of(problems: LinearProblems, coefficients: Tensor, rows: Rows, held_out: list[Tensor]) -> float:
    """The mean loss for what each fold left out."""
    total = weights = 0.0
    for layer, out in zip(coefficients, held_out, strict=True):
        for some in torch.split(out, 4096):
            weight = float(rows.weights[some].sum())
            output = problems.output(layer, some)
            total += weight * float(weighted_loss(output, rows.targets[some], rows.weights[some]))
            weights += weight
    return total / weights


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
    weights = rows.example_weights.repeat(len(left_out), 1)
    for fold, left in zip(weights, left_out, strict=True):
        fold[left] = 0
    return weights
