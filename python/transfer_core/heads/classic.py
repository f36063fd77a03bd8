"""Heads fitted without gradients: class means, nearest neighbors, and those of scikit-learn.

Each fit is converted to arrays, so that a saved head consists of numbers alone: it is loaded and used
without scikit-learn, and a file cannot make it run code or crash. scikit-learn's trees and machines do not
check the indices that they read.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from transfer_core.heads.classic_problems import Fit
from transfer_core.heads.classic_trees import gradient_boosting, random_forest
from transfer_core.heads.classic_vectors import logistic, nearest_neighbors, support_vector_machine
from transfer_core.heads.cosine import cosine
from transfer_core.heads.folds import first_views, left_out_rows
from transfer_core.heads.head import Head
from transfer_core.heads.prototype import prototype
from transfer_core.heads.rows import Rows
from transfer_core.recipe.heads import (
    ClassicHead,
    CosineHead,
    GradientBoostingHead,
    KnnHead,
    LogisticHead,
    PrototypeHead,
    RandomForestHead,
    SvmHead,
)
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.criteria import CLASSES, Array

_FITS: dict[type, Fit] = {
    LogisticHead: logistic,
    SvmHead: support_vector_machine,
    RandomForestHead: random_forest,
    GradientBoostingHead: gradient_boosting,
    KnnHead: nearest_neighbors,
    PrototypeHead: prototype,
    CosineHead: cosine,
}


class ClassicFit(NamedTuple):
    """A `head`, out-of-fold outputs `held_out` (M, K) of the rows `held_out_rows`, history."""

    head: Head
    history: list[dict[str, float]]
    held_out: Array
    held_out_targets: Array
    held_out_rows: Array


def fit_classic(
    spec: ClassicHead,
    rows: Rows,
    outputs: int,
    folds: int,
    seed: int,
    progress: Progress,
) -> ClassicFit:
    """Fit `rows`, at least two examples, and folds of them for out-of-fold outputs.

    A fold whose training part lacks a class is skipped.
    """
    fit = _FITS[type(spec)]
    left_out = [out for out in left_out_rows(rows, folds, seed) if _all_classes_without(out, rows, outputs)]
    held_out = first_views(left_out, rows)
    predicted: list[Array] = []
    for done, (left, scored) in enumerate(zip(left_out, held_out, strict=True)):
        progress.advance("train", done, len(left_out) + 1, "fits")
        head = fit(spec, rows.take(_others(left, len(rows))), outputs, seed, progress.check)
        predicted.append(head(rows.features[scored]))
    progress.advance("train", len(left_out), len(left_out) + 1, "fits")
    head = fit(spec, rows, outputs, seed, progress.check)
    progress.advance("train", len(left_out) + 1, len(left_out) + 1, "fits")
    scored = np.concatenate([*held_out, np.zeros(0, np.int64)])
    out_of_fold = np.concatenate([*predicted, np.zeros((0, outputs), np.float32)])
    targets = rows.targets[scored]
    history = (
        [rows.criterion.validation_metrics(out_of_fold, targets, rows.weights[scored])] if predicted else []
    )
    return ClassicFit(head, history, out_of_fold, targets, scored)


def _all_classes_without(out: Array, rows: Rows, outputs: int) -> bool:
    """Return whether the training part of a fold has every class."""
    if rows.criterion.layout != CLASSES:
        return True
    return len(np.unique(rows.targets[_others(out, len(rows))])) == outputs


def _others(rows: Array, count: int) -> Array:
    """Return the numbers below `count` that are not in `rows`."""
    left = np.ones(count, bool)
    left[rows] = False
    return np.flatnonzero(left)
