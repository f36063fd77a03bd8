"""Model card in Markdown, with the metadata of the Hugging Face Hub as YAML front matter."""

from __future__ import annotations

import json
import re
from typing import Any

from transfer_core.report.numbers import number, title_of
from transfer_core.report.parts import Cell, Report, Section, Table

# Sections of a card; the page has all of them, with recipe and inputs.
_SECTIONS = ("Summary", "Metrics", "Classes", "Groups", "Environment")
_PIPELINES = {
    ("classification", "image"): "image-classification",
    ("multi_label", "image"): "image-classification",
    ("detection", "image"): "object-detection",
    ("classification", "text"): "text-classification",
    ("multi_label", "text"): "text-classification",
    ("classification", "table"): "tabular-classification",
    ("regression", "table"): "tabular-regression",
    ("translation", "text"): "translation",
    ("text_to_text", "text"): "text-generation",
}
# Groups with a result of their own in the metadata.
_MOST_GROUPS = 100
_MARKUP = re.compile(r"([\\`*_\[\]<>#|~$&!])")


def render_card(report: Report) -> str:
    """Render a report as a model card.

    Cards are published: recipe, data, inputs and warnings, which name inputs, are left out.
    """
    front = "".join(f"{key}: {_yaml(value)}\n" for key, value in card_metadata(report).items())
    body = [_section(section) for section in report.sections if section.title in _SECTIONS]
    return f"---\n{front}---\n\n# {_escaped(report.title)}\n\n" + "\n".join(body)


def card_metadata(report: Report) -> dict[str, Any]:
    """Metadata of a model card: library, pipeline, tags, and the metrics as results of an evaluation."""
    summary, metrics = report.summary, report.metrics
    found: dict[str, Any] = {"library_name": "transfer-rb", "tags": ["transfer-learning", summary["task"]]}
    pipeline = _PIPELINES.get((summary["task"], summary["modality"]))
    if pipeline:
        found["pipeline_tag"] = pipeline
    values = [
        {"type": name, "name": title_of(name), "value": value}
        for name, value in metrics.items()
        if isinstance(value, float)
    ]
    if values:
        found["metrics"] = [one["type"] for one in values]
        task = {"type": pipeline or summary["task"]}
        dataset = {"name": f"{number(metrics['examples'])} examples", "type": "private"}
        results = [{"task": task, "dataset": dataset, "metrics": values}]
        groups = metrics.get("groups") or {"per_group": ()}
        for one in groups["per_group"][:_MOST_GROUPS]:
            name = groups["metric"]
            measured = {"type": name, "name": title_of(name), "value": one["value"]}
            dataset = {"name": f"{number(one['examples'])} examples, group {one['group']}", "type": "private"}
            results.append({"task": task, "dataset": dataset, "metrics": [measured]})
        found["model-index"] = [{"name": report.title, "results": results}]
    return found


def _yaml(value: Any) -> str:
    """JSON is YAML, but for control characters and halves of surrogate pairs, which are replaced."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def _section(section: Section) -> str:
    lines = [f"## {section.title}", "", *(_escaped(text) + "\n" for text in section.text)]
    for table in section.tables:
        lines += _table(table)
    return "\n".join(lines) + "\n"


def _table(table: Table) -> list[str]:
    rows = [[cell.text if isinstance(cell, Cell) else cell for cell in row] for row in table.rows]
    head, *body = (f"| {' | '.join(map(_escaped, line))} |" for line in (table.columns, *rows))
    return ["", head, "|---" * len(table.columns) + "|", *body]


def _escaped(text: str) -> str:
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))
