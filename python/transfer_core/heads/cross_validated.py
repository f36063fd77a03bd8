"""Default head: a linear layer fitted to convergence, with cross-validated L2 strength and feature scaling.

Minimizes, over W (K, D) and b (K,),

    sum_n w_n loss(W x_n + b, y_n) / sum_n w_n + strength / 2 |W|²

with x scaled features. The loss is cross-entropy for classes, half the squared error for values, and
the sum of the binary cross-entropies for labels. All are convex, so no learning rate and no number of epochs
need tuning.

The closed form of the squared error is not used: L-BFGS needs no extra code for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from transfer_core.heads.coordinates import coordinates_of
from transfer_core.heads.folds import a_part_of, first_views, left_out_rows, weights_without
from transfer_core.heads.heartbeat import Heartbeat
from transfer_core.heads.linear_problem import LinearProblems, linear_problems
from transfer_core.heads.rows import Rows
from transfer_core.heads.scaling import Scaling, parts_of, scalings
from transfer_core.runtime.parallel import one_blas_thread
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.criteria import Array

STRENGTHS = tuple(10.0**e for e in (1, 0.5, 0, -0.5, -1, -1.5, -2, -2.5, -3, -3.5, -4))

# Examples on which the two scalings are compared.
ENOUGH_FOR_SCALING = 512

# Share to which a scale per feature must lower the loss to be preferred to one scale for all.
WORTH_MORE_NUMBERS = 0.99

# All strengths for either scaling, again on all examples, and the final fit.
MOST_FITS = 3 * len(STRENGTHS) + 1

# Tolerances of the fits as shares of the loss: to compare scalings, to compare strengths, and of the final
# fit, whose probabilities are within 0.001 of those of the exact minimum.
ROUGH, COMPARED, CONVERGED = 1e-3, 4e-6, 5e-9


@dataclass(frozen=True)
class LinearFit:
    """`weight` (K, D) and `bias` (K,) for unscaled features.

    `held_out` (M, K) are out-of-fold outputs for rows with `held_out_targets`. `path` has strength and
    held-out loss of each strength that was tried, the strongest first.
    """

    weight: Array
    bias: Array
    strength: float
    held_out: Array
    held_out_targets: Array
    path: list[dict[str, float]]


@dataclass(frozen=True)
class Candidate:
    """One strength on B folds: `coefficients` (B, K, R + 1) and mean held-out `loss`."""

    coefficients: Array
    loss: float


@dataclass(frozen=True)
class Search:
    """`problems` and held-out rows of the folds, and the `tried` strengths by index in `STRENGTHS`."""

    problems: LinearProblems
    held_out: list[Array]
    tried: dict[int, Candidate]

    @property
    def chosen(self) -> int:
        """Index of the strength with the lowest held-out loss."""
        return min(self.tried, key=lambda i: self.tried[i].loss)

    @property
    def loss(self) -> float:
        """Lowest held-out loss."""
        return self.tried[self.chosen].loss


def fit_linear(rows: Rows, outputs: int, folds: int, seed: int, progress: Progress) -> LinearFit:
    """Fit `rows`, at least two examples, with the scaling and strength of the lowest held-out loss."""
    with one_blas_thread():
        return _fit(rows, outputs, folds, seed, progress)


def _fit(rows: Rows, outputs: int, folds: int, seed: int, progress: Progress) -> LinearFit:
    progress.check()
    heartbeat = Heartbeat(progress, "train", MOST_FITS, "fits")
    scaling = _better_scaling(rows, outputs, folds, seed, heartbeat)
    found = _search(rows, scaling, outputs, folds, seed, COMPARED, heartbeat)
    best, strength = found.tried[found.chosen], STRENGTHS[found.chosen]
    at = found.problems.at
    everything = linear_problems(rows, at, rows.example_weights[None], outputs, heartbeat.check)
    start = best.coefficients.mean(axis=0, keepdims=True)
    heartbeat.next()
    solution = everything.solve(strength, start, CONVERGED)[0]
    weight, bias = at.on_features(solution[:, :-1], solution[:, -1])
    heartbeat.finish()
    fits = zip(best.coefficients, found.held_out, strict=True)
    return LinearFit(
        weight=weight,
        bias=bias,
        strength=strength,
        held_out=np.concatenate([found.problems.output(coefficients, out) for coefficients, out in fits]),
        held_out_targets=rows.targets[np.concatenate(found.held_out)],
        path=[
            {"strength": STRENGTHS[i], "validation_loss": found.tried[i].loss} for i in sorted(found.tried)
        ],
    )


def _better_scaling(rows: Rows, outputs: int, folds: int, seed: int, heartbeat: Heartbeat) -> Scaling:
    """Return one scale for all features, or one each if that is clearly better on part of the rows."""
    *own, shared = scalings(rows.features)
    if not own:
        return shared
    some = a_part_of(rows, max(ENOUGH_FOR_SCALING, 5 * outputs), seed)
    alone, together = (
        _search(some, scaling, outputs, folds, seed, ROUGH, heartbeat).loss for scaling in (own[0], shared)
    )
    return own[0] if alone < WORTH_MORE_NUMBERS * together else shared


def _search(
    rows: Rows,
    scaling: Scaling,
    outputs: int,
    folds: int,
    seed: int,
    tolerance: float,
    heartbeat: Heartbeat,
) -> Search:
    """Search the strength with the lowest held-out loss."""
    at = coordinates_of(rows.features, scaling)
    left_out = left_out_rows(rows, folds, seed)
    problems = linear_problems(rows, at, weights_without(left_out, rows), outputs, heartbeat.check)
    held_out = first_views(left_out, rows)

    def evaluate(strength: float, start: Array) -> Candidate:
        heartbeat.next()
        coefficients = problems.solve(strength, start, tolerance)
        return Candidate(coefficients, _loss_of(problems, coefficients, rows, held_out))

    return Search(problems, held_out, _search_unimodal(evaluate, problems.zeros()))


def _search_unimodal(evaluate: Callable[[float, Array], Candidate], zeros: Array) -> dict[int, Candidate]:
    """Return the strengths that were tried, by index in `STRENGTHS`.

    `evaluate` takes a strength and a start. The held-out loss is assumed to be unimodal. Every second
    strength is tried, from strong to weak, until the loss is 1 % above its lowest or, where it levels off,
    the strength in between has the lowest; then the neighbors of the best. Each fit solves all folds in one
    batch.
    """
    tried: dict[int, Candidate] = {}

    def attempt(i: int) -> int:
        """Try a strength; return the index of the best so far."""
        tried[i] = evaluate(STRENGTHS[i], _start(tried, i, zeros))
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
    """Return whether the last step lowered the loss by little, and by less than the step before."""
    if i < 4:
        return False
    first, second, third = (tried[j].loss for j in (i - 4, i - 2, i))
    return third > 0.9 * second and second - third < first - second


def _start(tried: dict[int, Candidate], i: int, zeros: Array) -> Array:
    """Return starting coefficients for strength `i`.

    Coefficients are smooth in the logarithm of the strength: they are interpolated, or extrapolated, from two
    others.
    """
    if i - 1 in tried:
        return (tried[i - 1].coefficients + tried[i + 1].coefficients) / 2
    if i - 4 in tried:
        return 2 * tried[i - 2].coefficients - tried[i - 4].coefficients
    return tried[i - 2].coefficients if tried else zeros


def _loss_of(problems: LinearProblems, coefficients: Array, rows: Rows, held_out: list[Array]) -> float:
    """Return the mean loss on the held-out rows of all folds."""
    total = weights = 0.0
    for layer, out in zip(coefficients, held_out, strict=True):
        for some in parts_of(out, 4096):
            given = rows.targets[some], rows.weights[some]
            total += float(rows.criterion.losses(problems.output(layer, some), *given).sum(dtype=np.float64))
            weights += float(given[1].sum(dtype=np.float64))
    return total / weights
