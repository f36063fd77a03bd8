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


def better_views(frozen: Frozen, phase: Phase, progress: Progress) -> Frozen:
    """`frozen` without its random views, unless a head that is also fitted on them has a lower loss on
    untouched held-out examples: cross-validated where the head is, else on the validation examples."""
    if frozen.views == 1:
        return frozen
    recipe = msgspec.structs.replace(frozen.recipe, augment=())
    untouched = replace(frozen, recipe=recipe, train=frozen.train[:: frozen.views], views=1)
    return min(untouched, frozen, key=lambda candidate: _held_out_loss(candidate, phase, progress))


def _held_out_loss(frozen: Frozen, phase: Phase, progress: Progress) -> float:
    quiet = Progress(cancelled=progress.cancelled)
    history = fit_frozen_head(frozen, phase, True, quiet).history
    return min((entry["validation_loss"] for entry in history if "validation_loss" in entry), default=0.0)
