"""Heads that scikit-learn fits: logistic regression, support vectors, forests, boosting, nearest neighbours.

What it fits becomes a layer of our own, and a saved head is numbers alone: to load and to use one takes no
scikit-learn, of whatever version, and no file can make it run code or crash. scikit-learn's own trees and
machines believe any index that a file gives them.
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
    """A `layer` from features (N, D) to outputs (N, K); outputs (M, K) for rows with `held_out_targets`, each
    from a fit that did not see its row; and the history."""

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
    """Fit `rows`, at least two examples; and for the outputs that are held out, folds of them.

    A fold that would leave a class without any example is passed over.
    """
    fit = _FITS[type(spec)]
    left_out = [out for out in left_out_rows(rows, folds, seed) if _all_classes_without(out, rows, outputs)]
    held_out = first_views(left_out, rows)
    said: list[Tensor] = []
    for done, (left, asked) in enumerate(zip(left_out, held_out, strict=True)):
        progress.advance("train", done, len(left_out) + 1, "fits")
        layer = fit(spec, rows.take(_others(left, len(rows))), outputs, seed, progress.check)
        said.append(layer(rows.features[asked]))
    progress.advance("train", len(left_out), len(left_out) + 1, "fits")
    layer = fit(spec, rows, outputs, seed, progress.check)
    progress.advance("train", len(left_out) + 1, len(left_out) + 1, "fits")
    asked = torch.cat([*held_out, torch.zeros(0, dtype=torch.int64)])
    outputs_said = torch.cat([*said, torch.zeros(0, outputs)])
    targets = rows.targets[asked]
    history = [rows.criterion.validation_metrics(outputs_said, targets, rows.weights[asked])] if said else []
    return ClassicFit(layer, outputs_said, targets, history)


def _all_classes_without(out: Tensor, rows: Rows, outputs: int) -> bool:
    """Whether the rows that a fold doesn't hold out have every class."""
    if rows.criterion.layout != CLASSES:
        return True
    return len(torch.unique(rows.targets[_others(out, len(rows))])) == outputs


def _others(rows: Tensor, count: int) -> Tensor:
    """The numbers below `count` that are not among `rows`."""
    left = torch.ones(count, dtype=torch.bool)
    left[rows] = False
    return left.nonzero().flatten()
