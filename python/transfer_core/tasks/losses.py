"""Loss and validation metrics per task: the criterion of a training."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss


def loss(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return the sum over examples of weight times loss.

    Cross-entropy for classes (N,) int64, mean squared error for values (N, K) float, mean binary
    cross-entropy for labels (N, K) bool, where `weights` are per example (N,) or per label (N, K).
    """
    if targets.dtype == torch.bool:
        losses = binary_cross_entropy_with_logits(outputs, targets.to(outputs.dtype), reduction="none")
        losses = losses if weights.ndim == 2 else losses.mean(dim=1)
    elif targets.is_floating_point():
        losses = mse_loss(outputs, targets, reduction="none").mean(dim=1)
    else:
        losses = cross_entropy(outputs, targets, reduction="none")
    return (losses * weights).sum()


def validation_metrics(outputs: Tensor, targets: Tensor, weights: Tensor) -> dict[str, float]:
    """Return the weighted mean loss; accuracy for classes; micro-F1 at a threshold of 0.5 for labels."""
    metrics = {"validation_loss": float(loss(outputs, targets, weights) / weights.sum())}
    if targets.dtype == torch.bool:
        predicted = outputs > 0
        positives = int(predicted.sum() + targets.sum())
        metrics["micro_f1"] = 2 * int((predicted & targets).sum()) / max(1, positives)
    elif not targets.is_floating_point():
        metrics["accuracy"] = float((outputs.argmax(dim=1) == targets).double().mean())
    return metrics
