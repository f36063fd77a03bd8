"""Search of the L2 strength of a linear head by the held-out loss of its folds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from transfer_core.heads.coordinates import coordinates_of
from transfer_core.heads.folds import first_views, left_out_rows, weights_without
from transfer_core.heads.heartbeat import Heartbeat
from transfer_core.heads.linear_problem import Problems, linear_problems
from transfer_core.heads.many_outputs import Part
from transfer_core.heads.rows import Rows
from transfer_core.heads.scaling import Scaling, parts_of
from transfer_core.tasks.criteria import Array

STRENGTHS = tuple(10.0**e for e in (1, 0.5, 0, -0.5, -1, -1.5, -2, -2.5, -3, -3.5, -4))


# Fits of a part of many outputs that take about as long as one of all.
OF_ALL = 100

# Strengths to try with all of many outputs.
MOST_NEAR = 4


@dataclass(frozen=True)
class Candidate:
    """One strength on B folds: `coefficients` (B, K, R + 1) and mean held-out `loss`."""

    coefficients: Array
    loss: float


@dataclass(frozen=True)
class Search:
    """`problems` and held-out rows of the folds, and the `tried` strengths by index in `STRENGTHS`."""

    problems: Problems
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


def search_strength(
    part: Part,
    scaling: Scaling,
    folds: int,
    seed: int,
    tolerance: float,
    heartbeat: Heartbeat,
    near: int | None = None,
) -> Search:
    """Search the strength with the lowest held-out loss.

    Parameters
    ----------
    tolerance
        Of each fit, see `minimize`.
    near
        Index of the strength to try first, then its neighbors. Default: all, as far as needed.
    """
    rows, outputs, factor = part
    at = coordinates_of(rows.features, scaling, outputs)
    left_out = left_out_rows(rows, folds, seed)
    problems = linear_problems(rows, at, weights_without(left_out, rows), outputs, heartbeat.check)
    held_out = first_views(left_out, rows)

    def evaluate(i: int, start: Array) -> Candidate:
        heartbeat.next(1 if near is None else OF_ALL, problems.checks)
        coefficients = problems.solve(factor * STRENGTHS[i], start, tolerance)
        return Candidate(coefficients, _loss_of(problems, coefficients, rows, held_out))

    zeros = problems.zeros()
    tried = search_unimodal(evaluate, zeros) if near is None else search_near(evaluate, zeros, near)
    return Search(problems, held_out, tried)


def search_unimodal(evaluate: Callable[[int, Array], Candidate], zeros: Array) -> dict[int, Candidate]:
    """Return the strengths that were tried, by index in `STRENGTHS`.

    `evaluate` takes the index of a strength and a start. The held-out loss is assumed to be unimodal. Every
    second strength is tried, from strong to weak, until the loss is 1 % above its lowest or, where it levels
    off, the strength in between has the lowest; then the neighbors of the best. Each fit solves all folds in
    one batch.
    """
    tried: dict[int, Candidate] = {}

    def attempt(i: int) -> int:
        """Try a strength; return the index of the best so far."""
        tried[i] = evaluate(i, _start(tried, i, zeros))
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


def search_near(evaluate: Callable[[int, Array], Candidate], zeros: Array, near: int) -> dict[int, Candidate]:
    """Return strengths near that with the index `near`: stronger ones while the loss falls, else weaker."""
    tried = {near: evaluate(near, zeros)}
    for step in (-1, 1):
        i = near
        while 0 <= i + step < len(STRENGTHS) and len(tried) < MOST_NEAR:
            i += step
            tried[i] = evaluate(i, tried[i - step].coefficients)
            if tried[i].loss >= tried[i - step].loss:
                break
        if tried[near].loss > min(candidate.loss for candidate in tried.values()):
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


def _loss_of(problems: Problems, coefficients: Array, rows: Rows, held_out: list[Array]) -> float:
    """Return the mean loss on the held-out rows of all folds."""
    total = weights = 0.0
    for layer, out in zip(coefficients, held_out, strict=True):
        for some in parts_of(out, 4096):
            given = rows.targets[some], rows.weights[some]
            total += float(rows.criterion.losses(problems.output(layer, some), *given).sum(dtype=np.float64))
            weights += float(given[1].sum(dtype=np.float64))
    return total / weights
