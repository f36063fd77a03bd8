"""Adaptation by a loss between the domains: of an mlp head, or of the blocks that a phase trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from transfer_core.heads import HeadFit
from transfer_core.pipeline.artifacts import Frozen
from transfer_core.pipeline.frozen_head import example_weights, head_rows
from transfer_core.plan.phases import Phase
from transfer_core.recipe.heads import MlpHead
from transfer_core.runtime.errors import Problem, RecipeError
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.criteria import Array
from transfer_core.training.checkpointer import NO_CHECKPOINTS, Checkpointer

if TYPE_CHECKING:
    from transfer_core.finetune import Examples
    from transfer_core.training.adaptation import Adaptation


def fit_deep_head(frozen: Frozen, progress: Progress, checkpointer: Checkpointer = NO_CHECKPOINTS) -> HeadFit:
    """Train an mlp head by `mmd` or `dann` on cached embeddings.

    Parameters
    ----------
    frozen
        Embeddings of both domains.
    progress, checkpointer
        As for `fit_frozen_head`.
    """
    from transfer_core.heads import Rows
    from transfer_core.heads.adapted import fit_adapted_head

    recipe, phase = frozen.plan.recipe, frozen.plan.head_phase
    assert isinstance(recipe.head, MlpHead)
    assert frozen.unlabelled is not None
    labelled, valid = head_rows(frozen, phase)
    count = len(frozen.unlabelled)
    groups = np.arange(count)
    none = Rows(
        frozen.unlabelled,
        _nothing(labelled.targets, count),
        _nothing(labelled.weights, count),
        groups,
        labelled.criterion,
    )
    rows = labelled.joined(none)
    from_source = frozen.splits.train.from_source.repeat(frozen.views)
    adaptation = _adaptation(frozen, np.append(from_source, np.zeros(count, bool)))
    head, history = fit_adapted_head(
        recipe.head,
        phase.train,
        rows,
        adaptation,
        len(frozen.splits.labels),
        recipe.seed,
        progress,
        checkpointer,
    )
    return HeadFit(head, list(history), head(valid.features), valid.targets)


def examples_of_both(frozen: Frozen, phase: Phase) -> tuple[Examples, Adaptation]:
    """Training examples of both domains and the inputs of the target, which have the weight 0, with the loss
    between the domains."""
    import torch

    from transfer_core.finetune import Examples

    splits = frozen.splits
    assert splits.domains
    unlabelled = splits.domains.unlabelled
    targets = frozen.task.targets(splits.train, frozen.state)
    weights = example_weights(frozen, splits.train, phase)
    targets, weights = (
        np.concatenate([known, _nothing(known, len(unlabelled))]) for known in (targets, weights)
    )
    dataset = splits.train.joined(unlabelled)
    examples = Examples(dataset, torch.from_numpy(targets), torch.from_numpy(weights))
    return examples, _adaptation(frozen, dataset.from_source)


def check_deep(frozen: Frozen) -> None:
    """Raise `RecipeError` if a domain has no inputs, or the method does not go with the task."""
    adapt, splits = frozen.plan.recipe.adapt, frozen.splits
    assert adapt
    assert splits.domains
    message = None
    if not len(splits.domains.unlabelled) and splits.train.from_source.all():
        message = 'the target domain has no training inputs. Fix: unlabelled: "…"'
    elif adapt.method == "mcc" and frozen.task.name != "classification":
        message = f"mcc is for classification, and the task is {frozen.task.name}. Try: coral"
    if message:
        raise RecipeError([Problem("adapt", message)])


def _adaptation(frozen: Frozen, from_source: Array) -> Adaptation:
    import torch

    from transfer_core.training.adaptation import Adaptation

    adapt = frozen.plan.recipe.adapt
    assert adapt
    return Adaptation(adapt.method, adapt.strength or 1.0, torch.from_numpy(from_source))


def _nothing(like: Array, count: int) -> Array:
    return np.zeros((count, *like.shape[1:]), like.dtype)
