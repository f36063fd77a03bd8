"""Criterion of distillation: the loss of the labels beside that of a teacher's softened outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from transfer_core.tasks.criteria import CLASSES, LABELS, VALUES, Array, Criterion, sigmoid, softmax

# Layout of targets (N, 1 + C + K): whether the label is known, 0 or 1; the target as columns; and the
# teacher's outputs.
DISTILLED = 3


@dataclass(frozen=True)
class Distillation(Criterion):
    """(1 - strength) loss + strength T² H(softmax(t / T), softmax(z / T)), with outputs z and teacher's
    outputs t, at the temperature T; an example without a label has the second term only.

    For several labels H is the sum of binary cross-entropies, and of values half the squared error. Weights
    of labels apply to the loss of the labels.

    Parameters
    ----------
    own
        The loss of the labels.
    temperature, strength
        T, and the weight of the second term.

    References
    ----------
    Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network (2015), section 2.
    """

    own: Criterion
    temperature: float
    strength: float
    name: ClassVar[str] = "distillation"
    layout: ClassVar[int] = DISTILLED

    def targets(self, known: Array, targets: Array, teacher: Array) -> Array:
        """Targets (N, 1 + C + K) float32 of labels `known` (N,), own targets (N, …) and outputs (N, K)."""
        columns = (known[:, None], targets.reshape(len(known), -1), teacher)
        return np.concatenate([column.astype(np.float32) for column in columns], axis=1)

    def parts(self, targets: Array) -> tuple[Array, Array, Array]:
        """The inverse of `targets`."""
        middle = 2 if self.own.layout == CLASSES else 1 + (targets.shape[1] - 1) // 2
        own = targets[:, 1:middle]
        if self.own.layout == CLASSES:
            own = own[:, 0].astype(np.int64)
        elif self.own.layout == LABELS:
            own = own > 0
        return targets[:, 0], own, targets[:, middle:]

    def terms(self, outputs: Array, targets: Array, weights: Array | None) -> tuple[Array, Array]:
        """See `Criterion`."""
        known, own, teacher = self.parts(targets)
        t = self.temperature
        soft, soft_slope = _SOFT[self.own.layout](outputs / t, teacher.T / t)
        hard, hard_slope = self.own.terms(outputs, own, weights)
        share = (known * (1 - self.strength)).astype(outputs.dtype)
        losses = share * hard + self.strength * t * t * soft
        slope = share * hard_slope + self.strength * t * soft_slope
        return losses, slope.astype(outputs.dtype, copy=False)

    def hessian(self, outputs: Array, weights: Array | None) -> Array:
        """That of the labels."""
        return self.own.hessian(outputs, weights)

    def strata(self, targets: Array) -> Array:
        """Those of the labels, or of the teacher's predictions."""
        known, own, teacher = self.parts(targets)
        layout = self.own.layout
        predicted = (
            teacher.argmax(axis=1) if layout == CLASSES else teacher > 0 if layout == LABELS else teacher
        )
        mask = known > 0 if own.ndim == 1 else known[:, None] > 0
        return self.own.strata(np.where(mask, own, predicted))

    def metrics(self, outputs: Array, targets: Array) -> dict[str, float]:
        """Those of the labels, where known."""
        known, own, _ = self.parts(targets)
        rows = known > 0
        return self.own.metrics(outputs[rows], own[rows]) if rows.any() else {}

    def _mean_over_outputs(self, losses: Array, outputs: int) -> Array:
        return self.own._mean_over_outputs(losses, outputs)


def _of_classes(outputs: Array, teacher: Array) -> tuple[Array, Array]:
    """Cross-entropy and its slope for outputs (B, K, n) and a teacher's (K, n)."""
    truth = softmax(teacher.T).T
    log_p = outputs - outputs.max(axis=1, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(axis=1, keepdims=True))
    return -(truth * log_p).sum(axis=1), np.exp(log_p) - truth


def _of_labels(outputs: Array, teacher: Array) -> tuple[Array, Array]:
    truth = sigmoid(teacher)
    losses = np.maximum(outputs, 0) - outputs * truth + np.log1p(np.exp(-np.abs(outputs)))
    return losses.sum(axis=1), sigmoid(outputs) - truth


def _of_values(outputs: Array, teacher: Array) -> tuple[Array, Array]:
    difference = outputs - teacher
    return 0.5 * np.square(difference).sum(axis=1), difference


_SOFT: dict[int, Callable[[Array, Array], tuple[Array, Array]]] = {
    CLASSES: _of_classes,
    LABELS: _of_labels,
    VALUES: _of_values,
}
