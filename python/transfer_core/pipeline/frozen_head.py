"""Fit the head on embeddings of the frozen backbone, and choose the views that it is fitted on."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import torch
from torch import Tensor

from transfer_core.data import Dataset
from transfer_core.heads import FittedHead, Rows, fit_head, rows_of
from transfer_core.pipeline.artifacts import Frozen
from transfer_core.plan.presets import Phase
from transfer_core.runtime.progress import Progress
from transfer_core.tasks import losses
from transfer_core.tasks.objective import Objective
from transfer_core.training.checkpointer import NO_CHECKPOINTS, Checkpointer


def fit_frozen_head(
    frozen: Frozen,
    phase: Phase,
    with_valid: bool,
    progress: Progress,
    checkpointer: Checkpointer = NO_CHECKPOINTS,
) -> FittedHead:
    """A head on the embeddings; `with_valid`, also fitted on the validation examples if it needs none."""
    recipe, objective = frozen.recipe, frozen.objective
    assert recipe.head is not None
    train = rows_for(frozen.train, frozen.splits.train, objective, phase, frozen.views)
    valid = rows_for(frozen.valid, frozen.splits.valid, objective, phase, 1)
    if with_valid and needs_no_validation(phase):
        train, valid = train.joined(valid), valid.take(torch.arange(0))
    outputs = len(objective.labels)
    return fit_head(
        recipe.head, phase.train, train, valid, outputs, losses, recipe.seed, progress, checkpointer
    )


def needs_no_validation(phase: Phase) -> bool:
    """Whether the head is fitted by L-BFGS or scikit-learn, which cross-validate."""
    return phase.train.optimizer in ("lbfgs", None)


def rows_for(embeddings: Tensor, dataset: Dataset, objective: Objective, phase: Phase, views: int) -> Rows:
    """Rows of `dataset` for a head: embeddings (N * views, D) with targets and weights."""
    weights = objective.weights(dataset, phase.train)
    return rows_of(embeddings, objective.targets(dataset), weights, views, dataset.groups)


def with_and_without_views(frozen: Frozen) -> list[Frozen]:
    """`frozen` without its random views, and `frozen`, if it has some."""
    if frozen.views == 1:
        return [frozen]
    recipe = msgspec.structs.replace(frozen.recipe, augment=())
    return [replace(frozen, recipe=recipe, train=frozen.train[:: frozen.views], views=1), frozen]


def fit_best(
    candidates: list[Frozen],
    phase: Phase,
    with_valid: bool,
    progress: Progress,
    checkpointer: Checkpointer,
) -> tuple[Frozen, FittedHead]:
    """The candidate with the lowest held-out loss, and its head, the first one if there is no such loss.

    The loss is cross-validated where the head is, else of the validation examples, and always of untouched
    examples. Progress and checkpoints are those of the last candidate.
    """
    *others, last = candidates
    quiet = Progress(cancelled=progress.cancelled)
    found = [(other, fit_frozen_head(other, phase, with_valid, quiet)) for other in others]
    found.append((last, fit_frozen_head(last, phase, with_valid, progress, checkpointer)))
    return min(found, key=lambda pair: _held_out_loss(pair[1]))


def _held_out_loss(fitted: FittedHead) -> float:
    losses_found = (entry["validation_loss"] for entry in fitted.history if "validation_loss" in entry)
    return min(losses_found, default=0.0)
