"""Metrics by class, confusions between classes, and metrics by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transfer_core.report.charts import Bar, Line, bar_chart, line_chart
from transfer_core.report.numbers import number, number_range, shortened, title_of
from transfer_core.report.parts import Cell, Examples, Gallery, Section, Table

# Classes of the tables, of the matrix, and of the charts.
_MOST_ROWS, _MOST_CELLS, _MOST_BARS, _MOST_CURVES = 1000, 40, 40, 6
_COLUMNS = ("precision", "recall", "f1", "average_precision", "average_precision_50", "threshold", "support")


def per_class(metrics: Mapping[str, Any]) -> Section | None:
    """Precision, recall and F1 of each class, the lowest F1 first in the chart."""
    classes = metrics.get("per_class") or metrics.get("per_label")
    if not classes:
        return None
    names = [name for name in _COLUMNS if name in classes[0]]
    rows = [[shortened(one["label"]), *(number(one[name]) for name in names)] for one in classes[:_MOST_ROWS]]
    lowest = sorted((one for one in classes if one["support"]), key=lambda one: one["f1"])[:_MOST_BARS]
    caption = "F1 of each class, the lowest first"
    figures = [(caption, bar_chart([Bar(one["label"], one["f1"]) for one in lowest], caption))]
    table = Table("Metrics of each class", ["Class", *map(title_of, names)], rows)
    return Section("Classes", figures=figures if lowest else (), tables=[table])


def confusions(metrics: Mapping[str, Any], labels: Sequence[str], examples: Examples) -> Section | None:
    """The confusion matrix, or for many classes the most frequent confusions alone."""
    matrix = metrics.get("confusion_matrix")
    if not matrix:
        return None
    tables, text = [], []
    if len(labels) <= _MOST_CELLS:
        rows: list[list[str | Cell]] = [[label] for label in labels]
        for truth, counts in enumerate(matrix):
            cells = (_cell(truth, column, counts, labels, examples) for column in range(len(labels)))
            rows[truth] += cells
        caption = "Rows are true classes, columns predicted ones"
        tables.append(Table(caption, ["Truth", *labels], rows, matrix=True))
        if tables[0].galleries:
            text.append("Open an underlined number to see examples of that cell.")
    if most := metrics.get("most_confused"):
        pairs = [(one["truth"], one["predicted"], number(one["count"])) for one in most]
        tables.append(Table("Most frequent confusions", ["Truth", "Predicted", "Examples"], pairs))
    return Section("Confusion matrix", text, tables=tables) if tables else None


def _cell(
    truth: int, predicted: int, counts: Sequence[int], labels: Sequence[str], examples: Examples
) -> Cell:
    count = counts[predicted]
    heat = min(9, int(10 * count / (sum(counts) or 1))) if count else None
    shown = examples.cells.get((truth, predicted))
    if not shown or not count:
        return Cell(number(count), heat)
    how = "correctly predicted" if truth == predicted else f"predicted as {shortened(labels[predicted], 60)}"
    some = f", {number(len(shown))} of them shown" if len(shown) < count else ""
    title = f"{shortened(labels[truth], 60)}, {how}: {number(count)}{some}"
    gallery = Gallery(f"cell-{truth}-{predicted}", title, shown)
    return Cell(number(count), heat, gallery, examples.icons.get((truth, predicted)))


def curves(metrics: Mapping[str, Any]) -> Section | None:
    """Precision-recall curves of a detector, for the classes with the most objects."""
    classes = [one for one in metrics.get("per_class", ()) if one.get("curve")]
    if not classes:
        return None
    most = sorted(classes, key=lambda one: -one["support"])[:_MOST_CURVES]
    lines = [Line(one["label"], [(recall, precision) for recall, precision in one["curve"]]) for one in most]
    caption = "Precision against recall at an IoU of 0.5, for the classes with the most objects"
    figure = caption, line_chart(lines, caption, "recall", "precision", unit=True)
    rows = [[line.name, number(x), number(y)] for line in lines for x, y in _sampled(line.points)]
    table = Table("Points of the curves", ["Class", "Recall", "Precision"], rows, folded=True)
    return Section("Precision and recall", figures=[figure], tables=[table])


def groups(metrics: Mapping[str, Any]) -> Section | None:
    """The metric of each group, with the gap between the best and the worst."""
    found = metrics.get("groups")
    if not found:
        return None
    rows = [
        [one["group"], number(one["value"]), number_range(one["interval"]), number(one["examples"])]
        for one in found["per_group"][:_MOST_ROWS]
    ]
    text = []
    if "worst" in found:
        text.append(
            f"The worst group is {shortened(found['worst'])}, the best {shortened(found['best'])}. "
            f"The gap is {number(found['gap'])} (95 % interval {number_range(found['gap_interval'])}); "
            f"equally good groups differ as much with a probability of {number(found['p_value'])}."
        )
    if found["missing"]:
        text.append(f"{number(found['missing'])} examples are in no group.")
    name = title_of(found["metric"])
    bars = [
        Bar(one["group"], one["value"], tuple(one["interval"])) for one in found["per_group"][:_MOST_BARS]
    ]
    caption = f"{name} of each group with its 95 % interval"
    table = Table(caption, ["Group", name, "95 % interval", "Examples"], rows)
    return Section("Groups", text, [(caption, bar_chart(bars, caption))] if bars else (), [table])


def _sampled(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    return points[:: max(1, len(points) // 10)]
