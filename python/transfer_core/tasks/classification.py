"""One of several classes: a probability for each of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace
from torch import Tensor

from transfer_core.metrics import classification_metrics, fit_temperature
from transfer_core.metrics.conformal import class_distances, in_set, set_metrics, some_rows
from transfer_core.model_file.format import ModelHeader
from transfer_core.tasks.level import quantile


def answers(outputs: Tensor, header: ModelHeader) -> Tensor:
    """Probabilities; a row sums to 1."""
    return (outputs.double() / header.temperature).softmax(dim=1)


def prediction(answer: list[float], header: ModelHeader, level: float | None) -> dict[str, Any]:
    """`label`, `score` and `scores`, the highest first; with a level `set`, in the same order."""
    scores = dict(sorted(zip(header.labels, answer, strict=True), key=lambda pair: -pair[1]))
    label, score = next(iter(scores.items()))
    said: dict[str, Any] = {"label": label, "score": score, "scores": scores}
    if level is not None:
        within = in_set(np.array([list(scores.values())]), quantile(header, 0, level))[0]
        said["set"] = [name for name, is_in in zip(scores, within, strict=True) if is_in]
    return said


def metrics(answers: Tensor, targets: npt.NDArray[Any], header: ModelHeader) -> dict[str, Any]:
    """See `classification_metrics`; and what sets at a level of 0.9 hold, if enough was held out for it."""
    # All that the baseline needs of the training targets is the commonest.
    trained = [int(np.argmax(header.label_counts or (0,)))]
    probabilities, seed = answers.numpy(), int(header.recipe.get("seed", 0))
    found = classification_metrics(probabilities, targets, header.labels, trained, seed)
    sets = set_metrics(probabilities, targets, header.distances, seed)
    return {**found, "conformal": sets} if sets else found


def calibrated(header: ModelHeader, outputs: Tensor, targets: Tensor) -> ModelHeader:
    """The temperature, and one minus the probability of the true class."""
    header = replace(header, temperature=fit_temperature(outputs.numpy(), targets.numpy()))
    some = some_rows(len(outputs))
    distances = class_distances(answers(outputs[some], header).numpy(), targets[some].numpy())
    return replace(header, distances=(tuple(distances),))
