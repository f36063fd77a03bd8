"""Significance test of fine-tuning against the head on frozen features."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from transfer_core.metrics.paired import gain_p_value
from transfer_core.pipeline.artifacts import Frozen, Tuned

SIGNIFICANT = 0.05


def gained(frozen: Frozen, before: Tensor, tuned: Tuned) -> bool:
    """Whether `tuned` replaces the frozen head.

    The fine-tuning of a preset must lower the validation loss significantly: the epoch that is kept is the
    best of several on few examples, which alone lowers the loss. For steps of the user it is enough that
    the weights of some epoch were kept.

    Parameters
    ----------
    frozen
        The plan and the validation examples.
    before
        (M, K) outputs of the frozen head for the validation examples.
    tuned
        The result of fine-tuning, with its outputs for the same examples.
    """
    plan = frozen.plan
    if not plan.must_gain:
        return tuned.backbone_changed or not all(phase.changes_backbone for phase in plan.further_phases)
    class_weights = plan.head_phase.train.class_weights
    weights = frozen.task.weights(frozen.splits.valid, frozen.splits.labels, frozen.state, class_weights)

    def of_examples(outputs: Tensor) -> npt.NDArray[np.float64]:
        parts = (torch.split(part, 1) for part in (outputs, tuned.held_out_targets, weights))
        return np.array([float(frozen.task.criterion.loss(*row)) for row in zip(*parts, strict=True)])

    chance = gain_p_value(of_examples(before), of_examples(tuned.held_out), plan.recipe.seed)
    return chance <= SIGNIFICANT
