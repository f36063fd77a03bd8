"""Losses of mini-batches: sums over examples of weight times loss, one per layout of the targets.

They equal `Criterion.losses` of numpy arrays. A sum, so that the losses of micro-batches add up.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss, softmax

from transfer_core.tasks.criteria import CLASSES, LABELS, VALUES, Criterion
from transfer_core.tasks.distillation import Distillation
from transfer_core.training.batch import Loss


def loss_of(criterion: Criterion) -> Loss:
    """Return the loss for the targets of `criterion`; see `Loss`."""
    return distilled(criterion) if isinstance(criterion, Distillation) else _LOSSES[criterion.layout]


def distilled(criterion: Distillation) -> Loss:
    """Return the loss of `criterion`, whose targets (N, 1 + C + K) have the teacher's outputs."""
    own_loss, soften = _LOSSES[criterion.own.layout], _SOFTENED[criterion.own.layout]
    t, strength = criterion.temperature, criterion.strength

    def loss(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        teacher = targets[:, -outputs.shape[1] :]
        own = targets[:, 1 : -outputs.shape[1]]
        known = targets[:, 0] if weights.ndim == 1 else targets[:, :1]
        alike = weights if weights.ndim == 1 else torch.ones_like(weights)
        if criterion.own.layout == CLASSES:
            own = own[:, 0].long()
        hard = own_loss(outputs, own, weights * known)
        soft = own_loss(outputs / t, soften(teacher / t), alike)
        return (1 - strength) * hard + strength * t * t * soft

    return loss


def _of_classes(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    return (cross_entropy(outputs, targets, reduction="none") * weights).sum()


def _of_labels(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Mean over labels, unless each has a weight."""
    losses = binary_cross_entropy_with_logits(outputs, targets.to(outputs.dtype), reduction="none")
    losses = losses if weights.ndim == 2 else losses.mean(dim=1)
    return (losses * weights).sum()


def _of_values(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    return (mse_loss(outputs, targets, reduction="none").mean(dim=1) * weights).sum()


# `_of_classes` takes probabilities (N, K) too.
_LOSSES: dict[int, Loss] = {CLASSES: _of_classes, LABELS: _of_labels, VALUES: _of_values}
_SOFTENED: dict[int, Callable[[Tensor], Tensor]] = {
    CLASSES: lambda outputs: softmax(outputs, 1),
    LABELS: Tensor.sigmoid,
    VALUES: lambda outputs: outputs,
}
