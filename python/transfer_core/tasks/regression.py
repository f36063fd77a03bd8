"""Numbers, in the units of the targets."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from msgspec.structs import replace
from torch import Tensor

from transfer_core.metrics import regression_metrics
from transfer_core.metrics.conformal import interval_metrics, some_rows, value_distances
from transfer_core.model_file.format import ModelHeader
from transfer_core.tasks.level import quantile


def answers(outputs: Tensor, header: ModelHeader) -> Tensor:
    """Values."""
    assert header.target_scaling is not None
    mean = torch.tensor(header.target_scaling.mean, dtype=torch.float64)
    scale = torch.tensor(header.target_scaling.scale, dtype=torch.float64)
    return outputs.double() * scale + mean


def prediction(answer: list[float], header: ModelHeader, level: float | None) -> dict[str, Any]:
    """`value`, or `values` by name; with a level `interval`, or `intervals` by name: `[low, high]`."""
    several = len(answer) > 1
    said: dict[str, Any] = {"values": _named(answer, header)} if several else {"value": answer[0]}
    if level is not None:
        halves = [quantile(header, output, level) for output in range(len(answer))]
        intervals = [[value - half, value + half] for value, half in zip(answer, halves, strict=True)]
        said |= {"intervals": _named(intervals, header)} if several else {"interval": intervals[0]}
    return said


def metrics(answers: Tensor, targets: npt.NDArray[Any], header: ModelHeader) -> dict[str, Any]:
    """See `regression_metrics`; and what intervals at a level of 0.9 hold, if enough was held out for it."""
    assert header.target_scaling is not None
    values, seed = answers.numpy(), int(header.recipe.get("seed", 0))
    # All that the baseline needs of the training targets is their mean.
    found = regression_metrics(values, targets, header.labels, np.array([header.target_scaling.mean]), seed)
    intervals = interval_metrics(values, targets, header.labels, header.distances, seed)
    return {**found, "conformal": intervals} if intervals else found


def calibrated(header: ModelHeader, outputs: Tensor, targets: Tensor) -> ModelHeader:
    """How far values are from the truth."""
    some = some_rows(len(outputs))
    values, truth = (answers(part[some], header).numpy() for part in (outputs, targets))
    return replace(header, distances=tuple(map(tuple, value_distances(values, truth))))


def _named(of_outputs: list[Any], header: ModelHeader) -> dict[str, Any]:
    return dict(zip(header.labels, of_outputs, strict=True))
