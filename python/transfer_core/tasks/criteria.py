"""Criteria: loss, gradient and validation metrics of outputs (N, K) against targets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss, softplus

# Layout of targets: values (N, K), one class (N,), or labels (N, K) bool. Saved heads contain these numbers.
VALUES, CLASSES, LABELS = 0, 1, 2


class Criterion(ABC):
    """A convex loss of the outputs of a linear layer.

    Attributes
    ----------
    name
        The name of the loss in a recipe.
    layout
        `CLASSES`, `LABELS` or `VALUES`.
    """

    name: ClassVar[str]
    layout: ClassVar[int]

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Sum of weight times loss; weights are (N,), or (N, K) where each label has its own. A sum, so that
        the losses of micro-batches add up."""

    @abstractmethod
    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Metrics of an epoch beside the loss."""

    def validation_metrics(self, outputs: Tensor, targets: Tensor, weights: Tensor) -> dict[str, float]:
        """`validation_loss`, the weighted mean loss, and `metrics`."""
        mean = self.loss(outputs, targets, weights) / weights.sum()
        return {"validation_loss": float(mean), **self.metrics(outputs, targets)}

    @abstractmethod
    def terms(self, outputs: Tensor, targets: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """Losses (B, n) and their gradients (B, K, n) for the outputs (B, K, n) of B layers; `weights` (n, K)
        are those of labels."""

    @abstractmethod
    def hessian(self, outputs: Tensor, weights: Tensor | None) -> Tensor:
        """Mean second derivative by an output, (N,), for outputs (N, K)."""

    @abstractmethod
    def strata(self, targets: Tensor) -> np.ndarray:
        """Stratification keys, (N,) int64: rows adjacent in their order go to different folds."""


class CrossEntropy(Criterion):
    """Softmax cross-entropy; targets are classes (N,) int64."""

    name = "cross_entropy"
    layout = CLASSES

    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """See `Criterion`."""
        return (cross_entropy(outputs, targets, reduction="none") * weights).sum()

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """The accuracy."""
        return {"accuracy": float((outputs.argmax(dim=1) == targets).double().mean())}

    def terms(self, outputs: Tensor, targets: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """See `Criterion`."""
        log_probability = outputs.log_softmax(dim=1)
        each = torch.arange(len(targets))
        losses = -log_probability[:, targets, each]
        gradient = log_probability.exp_()
        gradient[:, targets, each] -= 1
        return losses, gradient

    def hessian(self, outputs: Tensor, weights: Tensor | None) -> Tensor:
        """Mean of p (1 - p)."""
        return (1 - outputs.softmax(dim=1).square().sum(dim=1)) / outputs.shape[1]

    def strata(self, targets: Tensor) -> np.ndarray:
        """The classes."""
        return targets.numpy()


class BinaryCrossEntropy(Criterion):
    """Sigmoid cross-entropy of each label; targets are (N, K) bool."""

    name = "binary_cross_entropy"
    layout = LABELS

    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """See `Criterion`; the mean over labels, unless each has a weight."""
        losses = binary_cross_entropy_with_logits(outputs, targets.to(outputs.dtype), reduction="none")
        losses = losses if weights.ndim == 2 else losses.mean(dim=1)
        return (losses * weights).sum()

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """The micro-F1 at a probability of one half."""
        predicted = outputs > 0
        appear = int(predicted.sum() + targets.sum())
        return {"micro_f1": 2 * int((predicted & targets).sum()) / max(1, appear)}

    def terms(self, outputs: Tensor, targets: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """See `Criterion`; the sum over labels."""
        truth = targets.T.to(outputs.dtype)
        losses, gradient = softplus(outputs) - outputs * truth, outputs.sigmoid() - truth
        if weights is not None:
            losses, gradient = losses * weights.T, gradient * weights.T
        return losses.sum(dim=1), gradient

    def hessian(self, outputs: Tensor, weights: Tensor | None) -> Tensor:
        """Mean of p (1 - p)."""
        probability = outputs.sigmoid()
        second = probability * (1 - probability)
        return (second if weights is None else second * weights).mean(dim=1)

    def strata(self, targets: Tensor) -> np.ndarray:
        """Label sets, sorted by their rarest label first: the fewer examples have it, the more exact its
        share in each fold."""
        rarest_first = np.argsort(targets.numpy().sum(axis=0), kind="stable")
        return np.unique(targets.numpy()[:, rarest_first], axis=0, return_inverse=True)[1].reshape(-1)


class SquaredError(Criterion):
    """Mean squared error over outputs; targets are (N, K) float32, standardized."""

    name = "mean_squared_error"
    layout = VALUES

    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """See `Criterion`."""
        return (mse_loss(outputs, targets, reduction="none").mean(dim=1) * weights).sum()

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """None beside the loss."""
        return {}

    def terms(self, outputs: Tensor, targets: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """See `Criterion`; half the sum of squares."""
        error = outputs - targets.T
        return 0.5 * error.square().sum(dim=1), error

    def hessian(self, outputs: Tensor, weights: Tensor | None) -> Tensor:
        """1 everywhere."""
        return outputs.new_ones(len(outputs))

    def strata(self, targets: Tensor) -> np.ndarray:
        """None."""
        return np.zeros(len(targets), np.int64)
