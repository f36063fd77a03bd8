"""What the outputs of a head say, told to a user or held against the truth: a module for each task."""

from __future__ import annotations

from typing import Any, Protocol

import numpy.typing as npt
from torch import Tensor

from transfer_core.model_file.format import ModelHeader
from transfer_core.tasks import classification, multi_label, regression
from transfer_core.tasks.level import check_level

__all__ = ["answers", "calibrated", "check_level", "doubts", "metrics", "prediction"]


class Answers(Protocol):
    """What is particular to a task."""

    def answers(self, outputs: Tensor, header: ModelHeader) -> Tensor:
        """Outputs (N, K) as what they mean, (N, K) float64."""

    def prediction(self, answer: list[float], header: ModelHeader, level: float | None) -> dict[str, Any]:
        """One row of answers as a user sees it."""

    def metrics(self, answers: Tensor, targets: npt.NDArray[Any], header: ModelHeader) -> dict[str, Any]:
        """How near answers come to the truth."""

    def calibrated(self, header: ModelHeader, outputs: Tensor, targets: Tensor) -> ModelHeader:
        """What outputs for held-out examples, at least one, tell of others."""


_TASKS: dict[str, Answers] = {
    "classification": classification,
    "multi_label": multi_label,
    "regression": regression,
}


def answers(outputs: Tensor, header: ModelHeader) -> Tensor:
    """Outputs (N, K) as probabilities, or as values in the units of the targets; (N, K) float64."""
    return _TASKS[header.task].answers(outputs, header)


def prediction(answer: list[float], header: ModelHeader, level: float | None = None) -> dict[str, Any]:
    """One row of `answers` as a prediction of docs/reference/protocol.md.

    With a `level`, which `check_level` accepted, also the set or interval with that coverage.
    """
    return _TASKS[header.task].prediction(answer, header, level)


def metrics(answers: Tensor, targets: npt.NDArray[Any], header: ModelHeader) -> dict[str, Any]:
    """How near `answers` come to the truth (N,) or (N, K), beside the trivial baseline."""
    return _TASKS[header.task].metrics(answers, targets, header)


def calibrated(header: ModelHeader, outputs: Tensor, targets: Tensor) -> ModelHeader:
    """`header` with what outputs (M, K) for held-out examples tell of others: the temperature, thresholds,
    and how far from the truth answers are. `targets` are those of the fit: (M,) classes, (M, K) labels or
    scaled values."""
    return _TASKS[header.task].calibrated(header, outputs, targets) if len(outputs) else header


def doubts(header: ModelHeader, targets: Tensor) -> list[str]:
    """What the user should know of a `calibrated` header, whose held-out examples had these targets."""
    return multi_label.undecided(header, targets) if header.task == "multi_label" else []
