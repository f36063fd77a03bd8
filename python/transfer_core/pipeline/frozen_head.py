"""Steps 3 and 4 in detail: fit the head on embeddings, with or without random views."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from transfer_core.data import Dataset
from transfer_core.heads import HeadFit, Rows, fit_head, rows_of
from transfer_core.pipeline.artifacts import Frozen, Tuned
from transfer_core.pipeline.distillation import distilled_rows, labelled_only
from transfer_core.pipeline.group_weights import balanced_weights, cells_of, check_groups, fit_robust
from transfer_core.plan.phases import Phase
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.criteria import Array
from transfer_core.training.checkpointer import NO_CHECKPOINTS, Checkpointer


def fit_frozen_head(
    frozen: Frozen, with_valid: bool, progress: Progress, checkpointer: Checkpointer = NO_CHECKPOINTS
) -> HeadFit:
    """Fit a head on the embeddings.

    Parameters
    ----------
    frozen
        The embeddings.
    with_valid
        Whether a head that cross-validates is also fitted on validation examples.
    progress
        Progress events and cancellation.
    checkpointer
        Saves checkpoints. Default: none.
    """
    recipe, phase, head = frozen.plan.recipe, frozen.plan.head_phase, frozen.plan.recipe.head
    assert head is not None
    train, valid = head_rows(frozen, phase)
    if with_valid and phase.cross_validates:
        train, valid = train.joined(valid), valid.take(np.arange(0))
    outputs = len(frozen.splits.labels)
    if phase.train.group_weights in (None, "none"):
        fitted = fit_head(head, phase.train, train, valid, outputs, recipe.seed, progress, checkpointer)
        return labelled_only(fitted, train.criterion)
    check_groups(frozen, progress)
    if phase.train.group_weights == "balanced":
        return fit_head(head, phase.train, train, valid, outputs, recipe.seed, progress, checkpointer)
    quiet, cells = Progress(cancelled=progress.cancelled), cells_of(frozen)

    def fit(rows: Rows, held_out: Rows) -> HeadFit:
        return fit_head(head, phase.train, rows, held_out, outputs, recipe.seed, quiet)

    by_row = np.concatenate([cells.train.repeat(frozen.views), cells.valid])
    return fit_robust(fit, train, valid, by_row, progress)


def head_rows(frozen: Frozen, phase: Phase) -> tuple[Rows, Rows]:
    """Training and validation rows of a head, with class weights and the outputs of a teacher."""
    train = _rows(frozen, frozen.splits.train, frozen.train, phase, frozen.views)
    valid = _rows(frozen, frozen.splits.valid, frozen.valid, phase, 1)
    return distilled_rows(frozen, train, valid)


def example_weights(frozen: Frozen, dataset: Dataset, phase: Phase) -> Array:
    """Weight of each example of a part in the loss: that of its class or group, times its importance."""
    weights = frozen.task.weights(dataset, frozen.splits.labels, frozen.state, phase.train.class_weights)
    if phase.train.group_weights not in (None, "none"):
        weights = weights * balanced_weights(frozen, dataset)
    if frozen.importance is None:
        return weights
    middle = len(frozen.splits.train)
    own = frozen.importance[:middle] if dataset is frozen.splits.train else frozen.importance[middle:]
    weighted: Array = weights * (own if weights.ndim == 1 else own[:, None])
    return weighted


def with_and_without_views(frozen: Frozen) -> list[Frozen]:
    """`frozen` without the random views that its plan proposes, and `frozen`, if it has some."""
    if frozen.views == 1 or not frozen.plan.proposes_views:
        return [frozen]
    plan = frozen.plan.without_views()
    return [replace(frozen, plan=plan, train=frozen.train[:: frozen.views], views=1), frozen]


def fit_best(
    candidates: list[Frozen], with_valid: bool, progress: Progress, checkpointer: Checkpointer
) -> tuple[Frozen, HeadFit]:
    """Select the candidate with the lowest held-out loss, and its head; the first if there is no such loss.

    The loss is cross-validated if the head is, else on the validation examples, and always without random
    views. Progress and checkpoints are those of the last candidate.

    Parameters
    ----------
    candidates
        Embeddings with and without random views.
    with_valid, progress, checkpointer
        As for `fit_frozen_head`.
    """
    *others, last = candidates
    quiet = Progress(cancelled=progress.cancelled)
    found = [(other, fit_frozen_head(other, with_valid, quiet)) for other in others]
    found.append((last, fit_frozen_head(last, with_valid, progress, checkpointer)))
    return min(found, key=lambda pair: _held_out_loss(pair[1]))


def without_fine_tuning(fitted: HeadFit, history: list[dict[str, Any]], fitted_on_valid: bool) -> Tuned:
    """The result of step 5 with a head on the published backbone."""
    held_out, targets = fitted.held_out, fitted.held_out_targets
    return Tuned(
        fitted.head, False, history, len(held_out), fitted_on_valid, held_out, targets, fitted.penalty
    )


def _rows(frozen: Frozen, dataset: Dataset, embeddings: Array, phase: Phase, views: int) -> Rows:
    task, state = frozen.task, frozen.state
    weights = example_weights(frozen, dataset, phase)
    return rows_of(embeddings, task.targets(dataset, state), weights, task.criterion, views, dataset.groups)


def _held_out_loss(fitted: HeadFit) -> float:
    losses = (entry["validation_loss"] for entry in fitted.history if "validation_loss" in entry)
    return min(losses, default=0.0)
