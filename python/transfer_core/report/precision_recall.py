"""Precision-recall curves of a classifier or multi-label model, per label and per group."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from transfer_core.metrics.ranking import average_precision, ranking
from transfer_core.report.charts import Bar, Line, bar_chart, line_chart
from transfer_core.report.numbers import number, number_range, shortened
from transfer_core.report.parts import Scores, Section, Table

# Lines of a chart, points of a line, and rows of a table.
_MOST_LINES, _MOST_POINTS, _MOST_ROWS, _MOST_BARS = 6, 100, 200, 40
_Z = 1.959964


def precision_recall(scores: Scores | None, labels: Sequence[str]) -> Section | None:
    """Curves of the labels and of the groups with the lowest average precision, with intervals."""
    if scores is None:
        return None
    text = [
        "A curve shows precision and recall at every threshold of the probability. Average precision is the "
        "area below it; a model that guesses reaches the share of positive examples."
    ]
    figures, tables = [], []
    parts = [("label", _of_labels(scores, labels)), ("group", _of_groups(scores))]
    for what, columns in parts:
        found = sorted((_measured(*column) for column in columns), key=lambda one: one[1].value)
        if not found:
            continue
        lines = [line for line, _ in found[:_MOST_LINES]]
        lowest = f", the {_MOST_LINES} lowest of {len(found)}" if len(found) > _MOST_LINES else ""
        caption = f"Precision by recall of each {what}{lowest}"
        figures.append((caption, line_chart(lines, caption, "recall", "precision", unit=True)))
        caption = f"Average precision of each {what}, 95 % interval (line), share of positives (dash)"
        figures.append((caption, bar_chart([bar for _, bar in found[:_MOST_BARS]], caption)))
        rows = [
            [bar.label, number(bar.value), number_range(bar.interval), number(bar.mark)]
            for _, bar in found[:_MOST_ROWS]
        ]
        columns_of = [what.capitalize(), "Average precision", "95 % interval", "Share of positives"]
        tables.append(Table(f"Average precision of each {what}", columns_of, rows, folded=True))
    return Section("Precision and recall", text, figures, tables) if tables else None


Column = tuple[str, npt.NDArray[np.float64], npt.NDArray[np.bool_]]


def _of_labels(scores: Scores, labels: Sequence[str]) -> list[Column]:
    columns = zip(labels, scores.probabilities.T, scores.truth.T, strict=True)
    return [(label, given, truth) for label, given, truth in columns if truth.any()]


def _of_groups(scores: Scores) -> list[Column]:
    """Each group with all pairs of an example and a label (micro-average)."""
    found = []
    for name in sorted({group for group in scores.groups if group is not None}):
        rows = [row for row, group in enumerate(scores.groups) if group == name]
        if scores.truth[rows].any():
            found.append((name, scores.probabilities[rows].ravel(), scores.truth[rows].ravel()))
    return found


def _measured(name: str, scores: npt.NDArray[np.float64], truth: npt.NDArray[np.bool_]) -> tuple[Line, Bar]:
    value = float(average_precision(ranking(scores[None], truth[None]))[0])
    interval = logit_interval(value, int(truth.sum()))
    return Line(f"{shortened(name, 40)} ({number(value)})", curve(scores, truth)), Bar(
        shortened(name), value, interval, float(truth.mean())
    )


def logit_interval(value: float, positives: int) -> tuple[float, float]:
    """95 % interval of an average precision on the scale of log-odds (Boyd, Eng & Page 2013, section 3.2).

    >>> tuple(round(end, 3) for end in logit_interval(0.8, 50))
    (0.667, 0.889)
    """
    bounded = min(max(value, 0.5 / (positives + 1)), 1 - 0.5 / (positives + 1))
    center = math.log(bounded / (1 - bounded))
    width = _Z / math.sqrt(positives * bounded * (1 - bounded))
    return (
        min(value, 1 / (1 + math.exp(width - center))),
        max(value, 1 / (1 + math.exp(-width - center))),
    )


def curve(scores: npt.NDArray[np.float64], truth: npt.NDArray[np.bool_]) -> list[tuple[float, float]]:
    """Recall and precision at each threshold, by rising recall; at most 100 points.

    Parameters
    ----------
    scores
        (N,).
    truth
        (N,) bool with at least one positive.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    right = np.cumsum(truth[order])[ends]
    recall, precision = right / right[-1], right / (ends + 1)
    kept = np.unique(np.linspace(0, len(ends) - 1, min(len(ends), _MOST_POINTS)).round().astype(int))
    return [(0.0, float(precision[0])), *zip(recall[kept].tolist(), precision[kept].tolist(), strict=True)]
