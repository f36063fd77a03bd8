"""The criterion that goes with targets, for tests that have no task: classes, labels or values."""

import torch

from transfer_core.heads import rows as head_rows
from transfer_core.tasks.criteria import BinaryCrossEntropy, CrossEntropy, SquaredError


def criterion_for(targets):
    if targets.dtype == torch.bool:
        return BinaryCrossEntropy()
    return SquaredError() if targets.is_floating_point() else CrossEntropy()


def Rows(features, targets, weights, groups, fold_groups=None):
    return head_rows.Rows(features, targets, weights, groups, criterion_for(targets), fold_groups)


def loss(outputs, targets, weights):
    return criterion_for(targets).loss(outputs, targets, weights)


def validation_metrics(outputs, targets, weights):
    return criterion_for(targets).validation_metrics(outputs, targets, weights)
