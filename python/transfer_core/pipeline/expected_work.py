"""Expected work of each phase of a training, for overall progress."""

from __future__ import annotations

from transfer_core.features import Views
from transfer_core.pipeline.artifacts import Chosen
from transfer_core.recipe.augmentations import of_one_image
from transfer_core.runtime.overall_progress import ExpectedPhase

# In forward passes of one input: reading and loading; fitting a head, and per input; an input of a head's
# epoch; a training step.
_CHOOSE, _HEAD, _HEAD_PER_INPUT, _HEAD_EPOCH = 100.0, 50.0, 0.15, 0.01
_BACKWARD, _EVALUATE = 3.0, 20.0


def expected_work(chosen: Chosen) -> list[ExpectedPhase]:
    """Each phase in order; work is in forward passes of one input through the backbone."""
    splits, plan = chosen.splits, chosen.plan
    views = Views(of_one_image(plan.recipe.augment)).count
    train, valid, test = len(splits.train), len(splits.valid), len(splits.test)
    changes, epochs = plan.changes_backbone, plan.head_phase.train.epochs or 1
    head = _HEAD + train * views * max(_HEAD_PER_INPUT, _HEAD_EPOCH * epochs)
    phases = [
        ExpectedPhase("choose", _CHOOSE),
        ExpectedPhase("freeze", train * views + valid + (0 if changes else test)),
        ExpectedPhase("head", 0.0),
        ExpectedPhase("train", head, epochs),
    ]
    for phase in plan.further_phases:
        epochs = phase.train.epochs or 1
        if phase.changes_backbone:
            phases.append(ExpectedPhase("fine_tune", epochs * (_BACKWARD * train + valid), epochs))
        else:
            phases.append(ExpectedPhase("train", _HEAD + epochs * _HEAD_EPOCH * train, epochs))
    phases.append(ExpectedPhase("evaluate", _EVALUATE + (test if changes else 0)))
    return phases
