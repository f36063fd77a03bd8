"""Folds of a cross-validation."""

from __future__ import annotations

import math

import numpy as np

from transfer_core.heads.rows import Rows
from transfer_core.tasks.criteria import Array

# Held-out examples that suffice to compare strengths; with more examples, fewer folds are fitted.
ENOUGH_HELD_OUT = 1000


def fold_of(rows: Rows, folds: int, seed: int) -> Array:
    """Return the number of the fold that holds out each row, (N,) int64.

    Rows of one group share a fold. Folds are stratified by class, or approximately by label set. With fewer
    groups than folds there is one group per fold.
    """
    generator = np.random.default_rng(seed)
    groups, first = np.unique(rows.folded_by, return_index=True)
    strata = rows.criterion.strata(rows.targets[first])
    order = generator.permutation(len(groups))
    order = order[np.argsort(strata[order], kind="stable")]
    fold = np.empty(len(groups), np.int64)
    fold[order] = np.arange(len(groups)) % folds
    numbers: Array = fold[np.searchsorted(groups, rows.folded_by)]
    return numbers


def a_part_of(rows: Rows, examples: int, seed: int) -> Rows:
    """Return the rows of about `examples` examples, or all rows if there are no more."""
    parts = math.ceil(len(np.unique(rows.folded_by)) / examples)
    if parts == 1:
        return rows
    return rows.take(np.flatnonzero(fold_of(rows, parts, seed) == 0))


def left_out_rows(rows: Rows, folds: int, seed: int) -> list[Array]:
    """Return the held-out rows per fold, for as many folds as hold out enough examples."""
    examples = len(np.unique(rows.folded_by))
    folds = min(folds, examples)
    fold = fold_of(rows, folds, seed)
    fitted = min(folds, math.ceil(ENOUGH_HELD_OUT / (examples / folds)))
    return [np.flatnonzero(fold == k) for k in range(fitted)]


def first_views(left_out: list[Array], rows: Rows) -> list[Array]:
    """Return the rows that are the first, unaugmented view of their example; views of one are adjacent."""
    first = np.ones(len(rows), bool)
    first[1:] = rows.groups[1:] != rows.groups[:-1]
    return [left[first[left]] for left in left_out]


def weights_without(left_out: list[Array], rows: Rows) -> Array:
    """Return the weights of the rows per fold, (B, N), 0 for held-out rows."""
    weights = np.tile(rows.example_weights, (len(left_out), 1))
    for fold, left in zip(weights, left_out, strict=True):
        fold[left] = 0
    return weights
