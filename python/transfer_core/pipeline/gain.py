"""Whether fine-tuning improved on the head that was fitted on frozen features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from transfer_core.metrics.paired import chance_of_gain
from transfer_core.pipeline.artifacts import Frozen, Tuned
from transfer_core.plan import presets
from transfer_core.plan.presets import Phase
from transfer_core.tasks import losses

SIGNIFICANT = 0.05


def gained(frozen: Frozen, first: Phase, further: Sequence[Phase], before: Tensor, tuned: Tuned) -> bool:
    """Whether `tuned` replaces the frozen head.

    The fine-tuning of a preset must lower the validation loss significantly: the epoch that is kept is the
    best of several on few examples, which alone lowers the loss. For steps of one's own it is enough that
    the weights of some epoch were kept.

    Parameters
    ----------
    before
        (M, K) outputs of the frozen head for the validation examples.
    tuned
        The end of fine-tuning, with its outputs for the same examples.
    """
    if not presets.must_gain(frozen.recipe):
        return tuned.backbone_changed or not all(phase.changes_backbone for phase in further)
    targets, weights = tuned.held_out_targets, frozen.objective.weights(frozen.splits.valid, first.train)

    def of_examples(outputs: Tensor) -> npt.NDArray[np.float64]:
        rows = zip(*(torch.split(part, 1) for part in (outputs, targets, weights)), strict=True)
        return np.array([float(losses.loss(*row)) for row in rows])

    return chance_of_gain(of_examples(before), of_examples(tuned.held_out), frozen.recipe.seed) <= SIGNIFICANT
