"""Heads fitted by scikit-learn: logistic regression, support vectors, forests, boosting, nearest neighbors.

Each fit is converted to a torch layer, so that a saved head consists of numbers alone: it is loaded and used
without scikit-learn, and a file cannot make it run code or crash. scikit-learn's trees and machines do not
check the indices that they read.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from transfer_core.heads.classic_problems import Fit
from transfer_core.heads.classic_trees import gradient_boosting, random_forest
from transfer_core.heads.classic_vectors import logistic, nearest_neighbors, support_vector_machine
from transfer_core.heads.folds import first_views, left_out_rows
from transfer_core.heads.rows import Rows
from transfer_core.recipe.schema import (
    ClassicHead,
    GradientBoostingHead,
    KnnHead,
    LogisticHead,
    RandomForestHead,
    SvmHead,
)
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.criteria import CLASSES
from transfer_core.training.batch import Metrics

_FITS: dict[type, Fit] = {
    LogisticHead: logistic,
    SvmHead: support_vector_machine,
    RandomForestHead: random_forest,
    GradientBoostingHead: gradient_boosting,
    KnnHead: nearest_neighbors,
}


class ClassicFit(NamedTuple):
    """A `layer` from features (N, D) to outputs (N, K), out-of-fold outputs `held_out` (M, K), history."""

    layer: nn.Module
    held_out: Tensor
    held_out_targets: Tensor
    history: list[Metrics]


@torch.no_grad()
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
    predicted: list[Tensor] = []
    for done, (left, scored) in enumerate(zip(left_out, held_out, strict=True)):
        progress.advance("train", done, len(left_out) + 1, "fits")
        layer = fit(spec, rows.take(_others(left, len(rows))), outputs, seed, progress.check)
        predicted.append(layer(rows.features[scored]))
    progress.advance("train", len(left_out), len(left_out) + 1, "fits")
    layer = fit(spec, rows, outputs, seed, progress.check)
    progress.advance("train", len(left_out) + 1, len(left_out) + 1, "fits")
    scored = torch.cat([*held_out, torch.zeros(0, dtype=torch.int64)])
    out_of_fold = torch.cat([*predicted, torch.zeros(0, outputs)])
    targets = rows.targets[scored]
    history = (
        [rows.criterion.validation_metrics(out_of_fold, targets, rows.weights[scored])] if predicted else []
    )
    return ClassicFit(layer, out_of_fold, targets, history)


def _all_classes_without(out: Tensor, rows: Rows, outputs: int) -> bool:
    """Return whether the training part of a fold has every class."""
    if rows.criterion.layout != CLASSES:
        return True
    return len(torch.unique(rows.targets[_others(out, len(rows))])) == outputs


def _others(rows: Tensor, count: int) -> Tensor:
    """Return the numbers below `count` that are not in `rows`."""
    left = torch.ones(count, dtype=torch.bool)
    left[rows] = False
    return left.nonzero().flatten()
