"""The overall metrics: a summary in words, a table beside the baseline, and a chart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transfer_core.report.charts import Bar, bar_chart
from transfer_core.report.numbers import number, number_range, title_of
from transfer_core.report.parts import Section, Table

# The main metric of each task: the first that the metrics have.
MAIN = ("accuracy", "mean_average_precision", "average_precision", "chrf2", "rouge_l", "r2", "mae")
_NOUNS = {"image": "images", "text": "texts", "table": "rows"}


def overview(summary: Mapping[str, Any], metrics: Mapping[str, Any], on_other_data: bool) -> list[str]:
    """Summarize a model in a few sentences."""
    noun = _NOUNS[summary["modality"]]
    task = title_of(summary["task"]).lower()
    found = [f"This model does {task} of {noun} with the backbone {summary['backbone']}."]
    if summary["task"] in ("classification", "multi_label", "detection"):
        found.append(f"It has {number(len(summary['labels']))} labels.")
    name = main_metric(metrics)
    if name is None:
        return [*found, "No examples were held out, so nothing was measured."]
    where = "of the given data" if on_other_data else "that were held out"
    sentence = f"{title_of(name)} is {number(metrics[name])} on {number(metrics['examples'])} {noun} {where}"
    if interval := metrics["intervals"].get(name):
        sentence += f" (95 % interval {number_range(interval)})"
    baseline = metrics["baseline"].get(name)
    if baseline is not None:
        sentence += f"; the baseline has {number(baseline)}"
        if interval:
            better = "is" if interval[0] > baseline else "is not"
            sentence += f", and the model {better} significantly better"
    found.append(sentence + ".")
    if on_other_data and name in summary["metrics"]:
        found.append("Examples that the model was trained on raise metrics: they only hold for new data.")
        found.append(
            f"On the part that was held out from training it was {number(summary['metrics'][name])}."
        )
    return found


def main_metric(metrics: Mapping[str, Any]) -> str | None:
    """The name of the main metric."""
    return next((name for name in MAIN if metrics.get(name) is not None), None)


def measured(metrics: Mapping[str, Any]) -> Section | None:
    """All overall metrics, compared with the baseline and the untuned model."""
    names = [name for name, value in metrics.items() if isinstance(value, float)]
    if not names:
        return None
    intervals, baseline = metrics["intervals"], metrics["baseline"]
    untuned = metrics.get("untuned", {})
    columns = ["Metric", "Value", "95 % interval", "Baseline", *(["Before training"] if untuned else [])]
    rows = []
    for name in names:
        row = [title_of(name), number(metrics[name]), number_range(intervals.get(name))]
        rows.append([*row, number(baseline.get(name)), *([number(untuned.get(name))] if untuned else [])])
    shares = [name for name in names if name in intervals and 0 <= metrics[name] <= 1]
    bars = [
        Bar(title_of(name), metrics[name], tuple(intervals[name]), baseline.get(name))
        for name in shares
        if intervals[name][0] >= 0 and (baseline.get(name) or 0) >= 0
    ]
    caption = "Metrics with their 95 % interval (line) and the baseline (dash)"
    figures = [(caption, bar_chart(bars, caption))] if bars else []
    text = []
    if label := baseline.get("label"):
        text.append(f"The baseline always predicts the most frequent class of the training, {label}.")
    if conformal := metrics.get("conformal"):
        text.append(
            f"Prediction sets or intervals at level {number(conformal['level'])} contain the truth in a "
            f"share of {number(conformal['coverage'])} (95 % interval {number_range(conformal['interval'])})."
        )
    if novelty := metrics.get("novelty"):
        sentence = f"A share of {number(novelty['flagged'])} of the examples is flagged as unknown"
        if novelty.get("auroc") is not None:
            sentence += f"; unknown classes are recognized with an AUROC of {number(novelty['auroc'])}"
        text.append(sentence + ".")
    tables = [Table("Metrics", columns, rows)]
    if outputs := metrics.get("per_output"):
        names = [name for name in outputs[0] if name != "name"]
        rows = [[one["name"], *(number(one[name]) for name in names)] for one in outputs[:500]]
        tables.append(Table("Metrics of each output", ["Output", *map(title_of, names)], rows))
    return Section("Metrics", text, figures, tables)


def kept(metrics: Mapping[str, Any]) -> Section | None:
    """What a continued training or a generation kept."""
    text = []
    if found := metrics.get("kept"):
        text.append(
            f"On {number(found['examples'])} test examples of the model that this training continued, "
            f"{title_of(found['metric']).lower()} was {number(found['before'])} before and is "
            f"{number(found['after'])} now."
        )
    if found := metrics.get("placeholders"):
        text.append(
            f"Of {number(found['examples'])} texts with placeholders or tags, a share of "
            f"{number(found['kept'])} keeps all of them."
        )
    return Section("Kept", text) if text else None
