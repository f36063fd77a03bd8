"""From outputs of a head to probabilities or values: one function per task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from transfer_core.export.operators import Value
from transfer_core.metrics.thresholds import DEFAULT_THRESHOLD


def add_outputs(outputs: Value, task: str, labels: int, state: Any) -> None:
    """Declare the outputs of a task (docs/reference/onnx_file.md).

    Parameters
    ----------
    outputs
        (N, K) float32 of the head.
    task, labels
        Name of the task, and K.
    state
        Its state: temperature, thresholds, scaling.
    """
    _TASKS[task](outputs.cast(np.float64), ["N", labels], state)


def _classification(outputs: Value, shape: list[str | int], state: Any) -> None:
    probabilities = (outputs / state.temperature).apply("Softmax", axis=1)
    outputs.graph.output("probabilities", probabilities, shape)


def _multi_label(outputs: Value, shape: list[str | int], state: Any) -> None:
    probabilities = (outputs / state.temperature).apply("Sigmoid")
    thresholds = np.array(state.thresholds or (DEFAULT_THRESHOLD,))
    outputs.graph.output("probabilities", probabilities, shape)
    is_below = probabilities.apply("Less", thresholds, dtype=bool)
    outputs.graph.output("positive", is_below.apply("Not"), shape)


def _regression(outputs: Value, shape: list[str | int], state: Any) -> None:
    outputs.graph.output("values", outputs * np.array(state.scale) + np.array(state.mean), shape)


_TASKS: dict[str, Callable[[Value, list[str | int], Any], None]] = {
    "classification": _classification,
    "multi_label": _multi_label,
    "regression": _regression,
}
