"""Reliability of probabilities, and errors of a regression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transfer_core.report.charts import Line, line_chart, scatter_chart
from transfer_core.report.numbers import number
from transfer_core.report.parts import Examples, Section, Table

_BINS = 10
_MOST_DOTS = 500


def calibration(metrics: Mapping[str, Any], examples: Examples) -> Section | None:
    """The expected calibration error, and a reliability diagram where there are predictions."""
    if metrics.get("ece") is None:
        return None
    text = [
        f"The expected calibration error is {number(metrics['ece'])}: the mean difference between the "
        "predicted probability and the share of right predictions."
    ]
    if not examples.certainty:
        text.append("A reliability diagram needs data: build the report with labelled data.")
        return Section("Calibration", text)
    bins = reliability(examples.certainty)
    caption = f"Share of right predictions by predicted probability, {len(examples.certainty)} examples"
    points = [(confidence, accuracy) for confidence, accuracy, _ in bins]
    figure = line_chart(
        [Line("model", points)], caption, "predicted probability", "share that is right", True, True
    )
    rows = [[number(confidence), number(accuracy), number(count)] for confidence, accuracy, count in bins]
    columns = ["Mean probability", "Share that is right", "Examples"]
    table = Table("Points of the diagram", columns, rows, folded=True)
    return Section("Calibration", text, [(caption, figure)], [table])


def reliability(certainty: Sequence[tuple[float, bool]]) -> list[tuple[float, float, int]]:
    """Mean probability, share of right predictions and count of each of 10 equal bins that is not empty.

    Examples
    --------
    >>> reliability([(0.95, True), (0.97, False)])
    [(0.96, 0.5, 2)]
    """
    confidence, right = (np.array(column, float) for column in zip(*certainty, strict=True))
    bin_of = np.clip(np.ceil(confidence * _BINS).astype(int) - 1, 0, _BINS - 1)
    return [
        (float(confidence[rows].mean()), float(right[rows].mean()), int(rows.sum()))
        for rows in (bin_of == k for k in range(_BINS))
        if rows.any()
    ]


def residuals(examples: Examples) -> Section | None:
    """Errors of a regression against its predictions."""
    if not examples.residuals:
        return None
    shown = examples.residuals[:: -(-len(examples.residuals) // _MOST_DOTS)]
    caption = f"Prediction less truth against prediction, {len(shown)} values"
    errors = np.array([error for _, error in examples.residuals])
    shares = (0, 5, 25, 50, 75, 95, 100)
    rows = [[f"{share} %", number(float(np.percentile(errors, share)))] for share in shares]
    table = Table("Percentiles of the errors", ["Percentile", "Error"], rows)
    figure = scatter_chart(shown, caption, "prediction", "error")
    return Section("Errors", figures=[(caption, figure)], tables=[table])
