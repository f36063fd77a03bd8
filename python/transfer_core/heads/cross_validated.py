"""Default head: a linear layer fitted to convergence, with cross-validated L2 strength and feature scaling.

Minimizes, over W (K, D) and b (K,),

    sum_n w_n loss(W x_n + b, y_n) / sum_n w_n + strength / 2 |W|²

with x scaled features. The loss is cross-entropy for classes, half the squared error for values, and
the sum of the binary cross-entropies for labels. All are convex, so no learning rate and no number of epochs
need tuning.

The closed form of the squared error is not used: L-BFGS needs no extra code for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from transfer_core.heads.folds import a_part_of
from transfer_core.heads.heartbeat import Heartbeat
from transfer_core.heads.linear_problem import linear_problems
from transfer_core.heads.many_outputs import MANY, Part, part_of_outputs
from transfer_core.heads.rows import Rows
from transfer_core.heads.scaling import Scaling, scalings
from transfer_core.heads.strength_search import MOST_NEAR, OF_ALL, STRENGTHS, Search, search_strength
from transfer_core.runtime.parallel import one_blas_thread
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.criteria import Array

# Examples on which the two scalings are compared.
ENOUGH_FOR_SCALING = 512

# Share to which a scale per feature must lower the loss to be preferred to one scale for all.
WORTH_MORE_NUMBERS = 0.99

# All strengths for either scaling, again on all examples, and the final fit.
MOST_FITS = 3 * len(STRENGTHS) + 1

# Tolerances of the fits as shares of the loss: to compare scalings, to compare strengths, for many outputs,
# and of the final fit, whose probabilities are within 0.001 of those of the exact minimum.
ROUGH, COMPARED, OF_MANY, CONVERGED = 1e-3, 4e-6, 1e-4, 5e-9


@dataclass(frozen=True)
class LinearFit:
    """`weight` (K, D) and `bias` (K,) for unscaled features.

    `held_out` (M, K) are out-of-fold outputs for the rows `held_out_rows` with `held_out_targets`. `path` has
    strength and held-out loss of each strength that was tried, the strongest first. `penalty` (D,) are the
    factors of the squared unscaled weights, halved, in the minimized loss; None if rows differ in weight.
    """

    weight: Array
    bias: Array
    strength: float
    held_out: Array
    held_out_targets: Array
    held_out_rows: Array
    path: list[dict[str, float]]
    penalty: Array | None


def fit_linear(rows: Rows, outputs: int, folds: int, seed: int, progress: Progress) -> LinearFit:
    """Fit `rows`, at least two examples, with the scaling and strength of the lowest held-out loss."""
    progress.check()
    is_many = outputs >= MANY
    heartbeat = Heartbeat(progress, "train", MOST_FITS + is_many * (MOST_NEAR + 1) * OF_ALL, "fits")
    with one_blas_thread():
        found = _search(rows, outputs, folds, seed, heartbeat)
        best, strength = found.tried[found.chosen], STRENGTHS[found.chosen]
        at = found.problems.at
        everything = linear_problems(rows, at, rows.example_weights[None], outputs, heartbeat.check)
        start = best.coefficients.mean(axis=0, keepdims=True)
        heartbeat.next(OF_ALL if is_many else 1, everything.checks)
        solution = everything.solve(strength, start, OF_MANY if is_many else CONVERGED)[0]
        fits = zip(best.coefficients, found.held_out, strict=True)
        held_out = np.concatenate([found.problems.output(coefficients, out) for coefficients, out in fits])
    held_out_rows = np.concatenate(found.held_out)
    weight, bias = at.on_features(solution[:, :-1], solution[:, -1])
    heartbeat.finish()
    return LinearFit(
        weight=weight,
        bias=bias,
        strength=strength,
        held_out=held_out,
        held_out_targets=rows.targets[held_out_rows],
        held_out_rows=held_out_rows,
        path=[
            {"strength": STRENGTHS[i], "validation_loss": found.tried[i].loss} for i in sorted(found.tried)
        ],
        penalty=strength * np.square(at.scale) if (rows.weights == rows.weights.flat[0]).all() else None,
    )


def _search(rows: Rows, outputs: int, folds: int, seed: int, heartbeat: Heartbeat) -> Search:
    """Choose scaling and strength; of many outputs, a part decides."""
    candidates = scalings(rows.features)
    everything = Part(rows, outputs)
    part = part_of_outputs(rows, outputs, seed) if outputs >= MANY else everything
    scaling = _better_scaling(candidates, part, folds, seed, heartbeat)
    found = search_strength(part, scaling, folds, seed, COMPARED, heartbeat)
    if part is everything:
        return found
    return search_strength(everything, scaling, folds, seed, OF_MANY, heartbeat, near=found.chosen)


def _better_scaling(
    candidates: list[Scaling], part: Part, folds: int, seed: int, heartbeat: Heartbeat
) -> Scaling:
    """Return one scale for all features, or one each if that is clearly better on part of the rows."""
    *own, shared = candidates
    if not own:
        return shared
    rows = a_part_of(part.rows, max(ENOUGH_FOR_SCALING, 5 * part.outputs), seed)
    alone, together = (
        search_strength(part._replace(rows=rows), scaling, folds, seed, ROUGH, heartbeat).loss
        for scaling in (own[0], shared)
    )
    return own[0] if alone < WORTH_MORE_NUMBERS * together else shared
