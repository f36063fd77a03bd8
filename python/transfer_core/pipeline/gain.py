"""Significance test of fine-tuning against the head on frozen features."""

from __future__ import annotations

from transfer_core.metrics.paired import gain_p_value
from transfer_core.pipeline.artifacts import Frozen, Tuned
from transfer_core.tasks.criteria import Array

SIGNIFICANT = 0.05


def gained(frozen: Frozen, before: Array, tuned: Tuned) -> bool:
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
    losses, new_losses = (
        frozen.task.criterion.losses(outputs, tuned.held_out_targets, weights).astype(float)
        for outputs in (before, tuned.held_out)
    )
    return gain_p_value(losses, new_losses, plan.recipe.seed) <= SIGNIFICANT
