"""Losses of mini-batches: sums over examples of weight times loss, one per layout of the targets.

They equal `Criterion.losses` of numpy arrays. A sum, so that the losses of micro-batches add up.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

from transfer_core.tasks.criteria import CLASSES, LABELS, VALUES, Criterion
from transfer_core.training.batch import Loss


def loss_of(criterion: Criterion) -> Loss:
    """Return the loss for the targets of `criterion`; see `Loss`."""
    return _LOSSES[criterion.layout]


def _of_classes(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    return (cross_entropy(outputs, targets, reduction="none") * weights).sum()


def _of_labels(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Mean over labels, unless each has a weight."""
    losses = binary_cross_entropy_with_logits(outputs, targets.to(outputs.dtype), reduction="none")
    losses = losses if weights.ndim == 2 else losses.mean(dim=1)
    return (losses * weights).sum()


def _of_values(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    return (mse_loss(outputs, targets, reduction="none").mean(dim=1) * weights).sum()


_LOSSES: dict[int, Loss] = {CLASSES: _of_classes, LABELS: _of_labels, VALUES: _of_values}
