"""Criteria: loss, derivatives and validation metrics of outputs (N, K) against targets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]

# Layout of targets: values (N, K), one class (N,), or labels (N, K) bool. Saved heads contain these numbers.
VALUES, CLASSES, LABELS = 0, 1, 2


def softmax(outputs: Array) -> Array:
    """Probabilities (N, K), whose rows add up to 1, for outputs (N, K)."""
    p: Array = np.exp(outputs - outputs.max(axis=1, keepdims=True, initial=-np.inf))
    p /= p.sum(axis=1, keepdims=True)
    return p


def sigmoid(outputs: Array) -> Array:
    """Independent probabilities for outputs of any shape."""
    small = np.exp(-np.abs(outputs))
    p: Array = np.where(outputs >= 0, 1, small) / (1 + small)
    return p


class Criterion(ABC):
    """A convex loss of the outputs of a linear layer; `training.losses` has it for mini-batches.

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
    def terms(self, outputs: Array, targets: Array, weights: Array | None) -> tuple[Array, Array]:
        """Compute losses (B, n) and their gradients (B, K, n) for the outputs (B, K, n) of B layers.

        Parameters
        ----------
        outputs
            Overwritten.
        targets
            (n,) or (n, K).
        weights
            (n, K) of labels; None: all are 1.
        """

    @abstractmethod
    def hessian(self, outputs: Array, weights: Array | None) -> Array:
        """Mean second derivative by an output, (N,), for outputs (N, K)."""

    @abstractmethod
    def strata(self, targets: Array) -> Array:
        """Stratification keys, (N,) int64: rows adjacent in their order go to different folds."""

    @abstractmethod
    def metrics(self, outputs: Array, targets: Array) -> dict[str, float]:
        """Metrics of an epoch beside the loss."""

    def losses(self, outputs: Array, targets: Array, weights: Array) -> Array:
        """Weight times loss of each example, (N,), for weights (N,), or (N, K) where each label has its own.

        Without weights of labels it is the mean over outputs.
        """
        columns = np.array(outputs.T[None], order="C")
        if weights.ndim == 2:
            found: Array = self.terms(columns, targets, weights)[0][0]
            return found
        return self._mean_over_outputs(self.terms(columns, targets, None)[0][0], outputs.shape[1]) * weights

    def _mean_over_outputs(self, losses: Array, outputs: int) -> Array:
        return losses

    def validation_metrics(self, outputs: Array, targets: Array, weights: Array) -> dict[str, float]:
        """`validation_loss`, the weighted mean loss, and `metrics`."""
        total = self.losses(outputs, targets, weights).sum(dtype=np.float64)
        mean = float(total / weights.sum(dtype=np.float64))
        return {"validation_loss": mean, **self.metrics(outputs, targets)}


class CrossEntropy(Criterion):
    """Softmax cross-entropy; targets are classes (N,) int64."""

    name = "cross_entropy"
    layout = CLASSES

    def terms(self, outputs: Array, targets: Array, weights: Array | None) -> tuple[Array, Array]:
        """See `Criterion`."""
        own = (slice(None), targets, np.arange(len(targets)))
        outputs -= outputs.max(axis=1, keepdims=True)
        chosen = outputs[own]
        gradient = np.exp(outputs, out=outputs)
        total = gradient.sum(axis=1)
        gradient /= total[:, None]
        gradient[own] -= 1
        return np.log(total) - chosen, gradient

    def hessian(self, outputs: Array, weights: Array | None) -> Array:
        """Mean of p (1 - p)."""
        second: Array = (1 - np.square(softmax(outputs)).sum(axis=1)) / outputs.shape[1]
        return second

    def strata(self, targets: Array) -> Array:
        """The classes."""
        return targets

    def metrics(self, outputs: Array, targets: Array) -> dict[str, float]:
        """The accuracy."""
        return {"accuracy": float((outputs.argmax(axis=1) == targets).mean())}


class BinaryCrossEntropy(Criterion):
    """Sigmoid cross-entropy of each label; targets are (N, K) bool."""

    name = "binary_cross_entropy"
    layout = LABELS

    def terms(self, outputs: Array, targets: Array, weights: Array | None) -> tuple[Array, Array]:
        """See `Criterion`; the sum over labels."""
        truth = targets.T
        losses = np.maximum(outputs, 0) - outputs * truth + np.log1p(np.exp(-np.abs(outputs)))
        gradient = sigmoid(outputs) - truth
        if weights is not None:
            losses *= weights.T
            gradient *= weights.T
        return losses.sum(axis=1), gradient.astype(outputs.dtype, copy=False)

    def hessian(self, outputs: Array, weights: Array | None) -> Array:
        """Mean of p (1 - p)."""
        p = sigmoid(outputs)
        second = p * (1 - p)
        mean: Array = (second if weights is None else second * weights).mean(axis=1)
        return mean

    def strata(self, targets: Array) -> Array:
        """Label sets, sorted by their rarest label first: the fewer examples have it, the more exact its
        share in each fold."""
        rarest_first = np.argsort(targets.sum(axis=0), kind="stable")
        return np.unique(targets[:, rarest_first], axis=0, return_inverse=True)[1].reshape(-1)

    def metrics(self, outputs: Array, targets: Array) -> dict[str, float]:
        """The micro-F1 at a probability of one half."""
        predicted = outputs > 0
        appear = int(predicted.sum() + targets.sum())
        return {"micro_f1": 2 * int((predicted & targets).sum()) / max(1, appear)}

    def _mean_over_outputs(self, losses: Array, outputs: int) -> Array:
        return losses / outputs


class SquaredError(Criterion):
    """Mean squared error over outputs; targets are (N, K) float32, standardized."""

    name = "mean_squared_error"
    layout = VALUES

    def terms(self, outputs: Array, targets: Array, weights: Array | None) -> tuple[Array, Array]:
        """See `Criterion`; half the sum of squares."""
        outputs -= targets.T
        return 0.5 * np.square(outputs).sum(axis=1), outputs

    def hessian(self, outputs: Array, weights: Array | None) -> Array:
        """1 everywhere."""
        return np.ones_like(outputs[:, 0])

    def strata(self, targets: Array) -> Array:
        """None."""
        return np.zeros(len(targets), np.int64)

    def metrics(self, outputs: Array, targets: Array) -> dict[str, float]:
        """None beside the loss."""
        return {}

    def _mean_over_outputs(self, losses: Array, outputs: int) -> Array:
        return 2 * losses / outputs
