"""Any number of labels: a probability for each, and from which on it is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace
from torch import Tensor

from transfer_core.data.bad_input import listed
from transfer_core.metrics import fit_label_temperature, multi_label_metrics
from transfer_core.metrics.thresholds import UNDECIDED, best_thresholds
from transfer_core.model_file.format import ModelHeader


def answers(outputs: Tensor, header: ModelHeader) -> Tensor:
    """Probabilities, each of its own."""
    return (outputs.double() / header.temperature).sigmoid()


def prediction(answer: list[float], header: ModelHeader, level: float | None) -> dict[str, Any]:
    """`labels`, perhaps none, and `scores` of all of them; the highest first."""
    ranked = sorted(zip(header.labels, answer, _thresholds(header), strict=True), key=lambda row: -row[1])
    return {
        "labels": [label for label, score, threshold in ranked if score >= threshold],
        "scores": {label: score for label, score, _ in ranked},
    }


def metrics(answers: Tensor, targets: npt.NDArray[Any], header: ModelHeader) -> dict[str, Any]:
    """See `multi_label_metrics`."""
    counts = np.array(header.label_counts or (0,) * len(header.labels))
    shares = counts / max(1, header.sizes.get("train", 0), *counts)
    seed = int(header.recipe.get("seed", 0))
    return multi_label_metrics(answers.numpy(), targets, header.labels, _thresholds(header), shares, seed)


def calibrated(header: ModelHeader, outputs: Tensor, targets: Tensor) -> ModelHeader:
    """The temperature, and for each label the threshold with the best F1."""
    header = replace(header, temperature=fit_label_temperature(outputs.numpy(), targets.numpy()))
    thresholds = best_thresholds(answers(outputs, header).numpy(), targets.numpy())
    return replace(header, thresholds=tuple(thresholds.tolist()))


def undecided(header: ModelHeader, targets: Tensor) -> list[str]:
    """A warning about labels for which there was nothing to choose a threshold by."""
    chosen = targets.any(dim=0).tolist() if header.thresholds else [False] * len(header.labels)
    unknown = [label for label, has in zip(header.labels, chosen, strict=True) if not has]
    if not unknown:
        return []
    return [f"no held-out example has the label {listed(unknown)}: it is said from a probability of 0.5 on"]


def _thresholds(header: ModelHeader) -> tuple[float, ...]:
    return header.thresholds or (UNDECIDED,) * len(header.labels)
