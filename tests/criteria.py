"""The criterion that goes with targets, for tests that have no task: classes, labels or values."""

import numpy as np

from transfer_core.heads import rows as head_rows
from transfer_core.tasks.criteria import BinaryCrossEntropy, CrossEntropy, SquaredError


def criterion_for(targets):
    if str(targets.dtype).endswith("bool"):
        return BinaryCrossEntropy()
    return SquaredError() if "float" in str(targets.dtype) else CrossEntropy()


def Rows(features, targets, weights, groups, fold_groups=None):
    return head_rows.Rows(features, targets, weights, groups, criterion_for(targets), fold_groups)


def loss(outputs, targets, weights):
    """Of a mini-batch of tensors."""
    from transfer_core.training.losses import loss_of

    return loss_of(criterion_for(targets))(outputs, targets, weights)


def mean_loss(outputs, targets, weights):
    return loss(outputs, targets, weights) / weights.sum()


def validation_metrics(*tensors):
    outputs, targets, weights = map(np.asarray, tensors)
    return criterion_for(targets).validation_metrics(outputs, targets, weights)
