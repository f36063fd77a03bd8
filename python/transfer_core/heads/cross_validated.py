"""The default head: a linear layer fitted to convergence, its L2 strength and the scaling of the features
chosen by cross-validation.

Minimises, over W (K, D) and b (K,),

    sum_n w_n loss(W x_n + b, y_n) / sum_n w_n + strength / 2 |W|²

with x scaled features. The loss is cross-entropy for classes, half the squared error for values, and
the sum of the binary cross-entropies for labels. All are convex, so there is nothing to tune: no learning
rate, no number of epochs.

The squared error has a closed form that is not used: with the curvature known, L-BFGS needs but a few steps,
and no code of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from transfer_core.heads.coordinates import coordinates_of
from transfer_core.heads.curvature import Curvature
from transfer_core.heads.folds import a_part_of, first_views, left_out_rows, weights_without
from transfer_core.heads.linear_problem import LinearProblems, linear_problems
from transfer_core.heads.pulse import Pulse
from transfer_core.heads.rows import Rows
from transfer_core.heads.scaling import Scaling, scalings
from transfer_core.runtime.progress import Progress
from transfer_core.training.batch import mean_loss

STRENGTHS = tuple(10.0**e for e in (1, 0.5, 0, -0.5, -1, -1.5, -2, -2.5, -3, -3.5, -4))

# Two scalings are compared on so many examples; what many show, a part shows.
ENOUGH_FOR_SCALING = 512

# A scale for each feature is many numbers instead of one, and has to lower the loss to this share.
WORTH_MORE_NUMBERS = 0.99

# All strengths for either scaling, and again on all examples; and the fit that stays.
MOST_FITS = 3 * len(STRENGTHS) + 1

# What may be left to gain, as a share of the loss: little enough to compare scalings, and strengths, and for
# probabilities within 0.001 of the exact minimum's.
ROUGH, COMPARED, CONVERGED = 1e-3, 4e-6, 5e-9


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


@dataclass(frozen=True)
class Search:
    """The `problems` of folds, the rows that each is measured on, and the `tried` strengths by their place in
    `STRENGTHS`."""

    problems: LinearProblems
    held_out: list[Tensor]
    tried: dict[int, Candidate]

    @property
    def chosen(self) -> int:
        """The strength with the lowest held-out loss."""
        return min(self.tried, key=lambda i: self.tried[i].loss)

    @property
    def loss(self) -> float:
        """That loss."""
        return self.tried[self.chosen].loss


def fit_linear(rows: Rows, outputs: int, folds: int, seed: int, progress: Progress) -> LinearFit:
    """Fit `rows`, at least two examples, for the scaling and the strength with the lowest held-out loss."""
    progress.check()
    pulse = Pulse(progress, "train", MOST_FITS, "fits")
    scaling = _better_scaling(rows, outputs, folds, seed, pulse)
    found = _search(rows, scaling, outputs, folds, seed, COMPARED, pulse)
    best, strength = found.tried[found.chosen], STRENGTHS[found.chosen]
    at = found.problems.at
    everything = linear_problems(rows, at, rows.example_weights[None], outputs, pulse.check)
    start = best.coefficients.mean(dim=0, keepdim=True)
    curvature = everything.curvature(start[0], best.curvature)
    pulse.next()
    solution = everything.solve(strength, start, curvature, CONVERGED)[0]
    weight, bias = at.on_features(solution[:, :-1], solution[:, -1])
    pulse.finish()
    fits = zip(best.coefficients, found.held_out, strict=True)
    return LinearFit(
        weight=weight,
        bias=bias,
        strength=strength,
        held_out=torch.cat([found.problems.output(coefficients, out) for coefficients, out in fits]),
        held_out_targets=rows.targets[torch.cat(found.held_out)],
        path=[
            {"strength": STRENGTHS[i], "validation_loss": found.tried[i].loss} for i in sorted(found.tried)
        ],
    )


def _better_scaling(rows: Rows, outputs: int, folds: int, seed: int, pulse: Pulse) -> Scaling:
    """One scale for all features, unless a rough look at a part of the rows says that each needs its own."""
    *own, shared = scalings(rows.features)
    if not own:
        return shared
    some = a_part_of(rows, max(ENOUGH_FOR_SCALING, 5 * outputs), seed)
    alone, together = (
        _search(some, scaling, outputs, folds, seed, ROUGH, pulse).loss for scaling in (own[0], shared)
    )
    return own[0] if alone < WORTH_MORE_NUMBERS * together else shared


def _search(
    rows: Rows,
    scaling: Scaling,
    outputs: int,
    folds: int,
    seed: int,
    tolerance: float,
    pulse: Pulse,
) -> Search:
    """The strength with the lowest held-out loss, and what it takes to know that it is."""
    at = coordinates_of(rows.features, scaling)
    left_out = left_out_rows(rows, folds, seed)
    problems = linear_problems(rows, at, weights_without(left_out, rows), outputs, pulse.check)
    held_out = first_views(left_out, rows)

    def judged(strength: float, start: Tensor, known: Curvature | None) -> Candidate:
        pulse.next()
        curvature = problems.curvature(start.mean(dim=0), known)
        coefficients = problems.solve(strength, start, curvature, tolerance)
        return Candidate(coefficients, _loss_of(problems, coefficients, rows, held_out), curvature)

    return Search(problems, held_out, _lowest_in_a_valley(judged, problems.zeros()))


def _lowest_in_a_valley(
    judged: Callable[[float, Tensor, Curvature | None], Candidate], zeros: Tensor
) -> dict[int, Candidate]:
    """Strengths by their place in `STRENGTHS`, as `judged` from a start and a curvature known nearby.

    The loss has one valley. Every other strength is tried, from strong to weak, until the loss is 1 % above
    its lowest, or, where it levels off, the strength in between has the lowest. Then the strengths beside the
    best are. Each fit is of all folds in one batched solve.
    """
    tried: dict[int, Candidate] = {}

    def attempt(i: int) -> int:
        """Try a strength; returns the best so far."""
        tried[i] = judged(STRENGTHS[i], *(_start(tried, i) or (zeros, None)))
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
            total += weight * float(
                mean_loss(rows.criterion.loss, output, rows.targets[some], rows.weights[some])
            )
            weights += weight
    return total / weights
