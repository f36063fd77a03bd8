"""The sections of a report, each present where the model has its metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from transfer_core.report.calibration import calibration, residuals
from transfer_core.report.classes import confusions, curves, groups, per_class
from transfer_core.report.domains import domains
from transfer_core.report.examples import unknown, worst
from transfer_core.report.faithfulness import faithfulness
from transfer_core.report.metrics import kept, measured, overview
from transfer_core.report.numbers import number, shortened, title_of
from transfer_core.report.parts import Example, Examples, Report, Scores, Section, Table
from transfer_core.report.precision_recall import precision_recall
from transfer_core.report.training import learning

__all__ = ["Example", "Examples", "Report", "Scores", "Section", "Table", "build_report"]

_MOST_ROWS = 500


def build_report(
    summary: dict[str, Any], metrics: dict[str, Any] | None = None, examples: Examples | None = None
) -> Report:
    """Build the report on a model.

    Parameters
    ----------
    summary
        A model summary (docs/reference/protocol.md).
    metrics
        Metrics on other data than the held-out part. Default: those of the summary.
    examples
        Predictions for that data.

    Raises
    ------
    KeyError, TypeError, ValueError, AttributeError, IndexError
        The summary or the metrics have another form than the tasks give them.
    """
    on_other_data = metrics is not None
    metrics = summary["metrics"] if metrics is None else metrics
    examples = examples or Examples()
    title = f"{Path(summary['path']).stem}: {title_of(summary['task']).lower()} report"
    sections = [
        Section("Summary", overview(summary, metrics, on_other_data)),
        _warnings(summary),
        measured(metrics),
        per_class(metrics),
        confusions(metrics, summary["labels"], examples),
        curves(metrics) or precision_recall(examples.scores, summary["labels"]),
        calibration(metrics, examples),
        residuals(examples),
        groups(metrics),
        worst(metrics, examples),
        faithfulness(examples),
        unknown(examples),
        domains(metrics, summary),
        kept(metrics),
        learning(summary["history"], summary["seconds"]),
        _data(summary),
        _recipe(summary["recipe"]),
        _environment(summary),
    ]
    return Report(title, summary, metrics, [section for section in sections if section])


def _warnings(summary: Mapping[str, Any]) -> Section | None:
    warnings = [shortened(message, 1000) for message in summary["warnings"][:100]]
    return Section("Warnings", warnings=warnings) if warnings else None


def _data(summary: Mapping[str, Any]) -> Section:
    data = summary["data"]
    if not data:
        sizes = [(name, number(size)) for name, size in summary["sizes"].items()]
        return Section("Data", tables=[Table("Examples of each part", ["Part", "Examples"], sizes)])
    text = [f"{number(data['examples'])} examples were found, {number(data['fitted'])} were fitted."]
    if data["calibrated"]:
        text.append(f"Scores are calibrated on {number(data['calibrated'])} ({data['calibrated_by']}).")
    if data.get("near_duplicates"):
        text.append(f"{number(data['near_duplicates'])} near-duplicates were kept in one part of the split.")
    rows = [(part["name"], number(part["examples"]), part["use"]) for part in data["parts"]]
    tables = [Table("Use of each part", ["Part", "Examples", "Use"], rows)]
    return Section("Data", text, tables=tables)


def _recipe(recipe: Mapping[str, Any]) -> Section:
    rows = [(word, shortened(str(value))) for word, value in _flat("", recipe)][:_MOST_ROWS]
    text = ["Words without a value have the default of the backbone or the head."]
    return Section("Recipe", text, tables=[Table("Words of the recipe", ["Word", "Value"], rows)])


def _flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Words with a value, by path: `steps[1].epochs`."""
    if isinstance(value, Mapping):
        for word, inner in value.items():
            yield from _flat(f"{path}.{word}" if path else str(word), inner)
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from _flat(f"{path}[{place}]", inner)
    elif value is not None:
        yield path, value


def _environment(summary: Mapping[str, Any]) -> Section:
    rows = [
        ("Backbone", summary["backbone"]),
        ("Embedding width", number(summary["embedding_width"])),
        ("Trained at", summary["created_at"]),
        ("Bytes of the file", number(summary["bytes"])),
        *((f"Version of {name}", version) for name, version in summary["versions"].items()),
    ]
    return Section("Environment", tables=[Table("Model file and versions", ["Fact", "Value"], rows)])
