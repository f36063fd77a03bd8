"""Distillation: rows of a head and examples of a fine-tuning with the outputs of a teacher."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from transfer_core.heads import HeadFit, Rows
from transfer_core.pipeline.artifacts import Frozen
from transfer_core.tasks.criteria import Array, Criterion
from transfer_core.tasks.distillation import Distillation

if TYPE_CHECKING:
    from transfer_core.finetune import Examples
    from transfer_core.training.student import Lesson


def distilled_rows(frozen: Frozen, train: Rows, valid: Rows) -> tuple[Rows, Rows]:
    """`train`, with unlabelled inputs, and `valid` with the outputs of the teacher, if they are distilled."""
    if frozen.taught is None or not frozen.taught.outputs:
        return train, valid
    criterion, outputs = _criterion(frozen), frozen.taught.outputs

    def with_teacher(rows: Rows, teacher: Array) -> Rows:
        known = np.ones(len(rows), np.float32)
        return replace(rows, targets=criterion.targets(known, rows.targets, teacher), criterion=criterion)

    rows = with_teacher(train, outputs["train"].repeat(frozen.views, axis=0))
    if frozen.unlabelled is not None and len(frozen.unlabelled):
        rows = rows.joined(_unlabelled(frozen.unlabelled, train, criterion, outputs["unlabelled"]))
    return rows, with_teacher(valid, outputs["valid"])


def _unlabelled(features: Array, like: Rows, criterion: Distillation, teacher: Array) -> Rows:
    count = len(features)
    targets = criterion.targets(np.zeros(count), _nothing(like.targets, count), teacher)
    weights = np.ones((count, *like.weights.shape[1:]), like.weights.dtype)
    return Rows(features, targets, weights, np.arange(count), criterion)


def labelled_only(fitted: HeadFit, criterion: Criterion) -> HeadFit:
    """`fitted` with held-out examples that have a label, and the targets of the task."""
    if not isinstance(criterion, Distillation):
        return fitted
    known, targets, _ = criterion.parts(fitted.held_out_targets)
    rows = known > 0
    return replace(fitted, held_out=fitted.held_out[rows], held_out_targets=targets[rows], penalty=None)


def taught_examples(frozen: Frozen, examples: Examples) -> tuple[Examples, Lesson]:
    """Training examples with unlabelled inputs, and what the student is trained on for each of them.

    Parameters
    ----------
    frozen
        Has the outputs and embeddings of the teacher.
    examples
        The training part.
    """
    import torch

    from transfer_core.finetune import Examples
    from transfer_core.training.student import Lesson

    taught, distill, domains = frozen.taught, frozen.plan.recipe.distill, frozen.splits.domains
    assert taught
    assert distill
    parts = ("train", "unlabelled")
    targets, weights = examples.targets.numpy(), examples.weights.numpy()
    count = len(taught.embeddings["unlabelled"])
    own = np.concatenate([targets, _nothing(targets, count)])
    known = np.repeat(np.array([1, 0], np.float32), [len(targets), count])
    criterion: Criterion = frozen.task.criterion
    if taught.outputs:
        criterion = _criterion(frozen)
        own = criterion.targets(known, own, np.concatenate([taught.outputs[part] for part in parts]))
    embeddings = np.concatenate([taught.embeddings[part] for part in parts])
    relations = tuple(relation for relation in distill.relation if relation != "kd")
    lesson = Lesson(criterion, relations, *map(torch.from_numpy, (own, known, embeddings)))
    dataset = examples.dataset.joined(domains.unlabelled) if domains else examples.dataset
    numbers = torch.arange(len(dataset))
    equal = np.concatenate([weights, np.ones((count, *weights.shape[1:]), weights.dtype)])
    return Examples(dataset, numbers, torch.from_numpy(equal)), lesson


def _criterion(frozen: Frozen) -> Distillation:
    distill = frozen.plan.recipe.distill
    assert distill
    return Distillation(frozen.task.criterion, distill.temperature, distill.strength)


def _nothing(like: Array, count: int) -> Array:
    return np.zeros((count, *like.shape[1:]), like.dtype)
