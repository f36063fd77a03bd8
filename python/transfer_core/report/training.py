"""Curves of the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from math import log10
from typing import Any

from transfer_core.report.charts import Line, line_chart
from transfer_core.report.numbers import number, shortened, title_of
from transfer_core.report.parts import Section, Table

_MOST_ROWS = 300


_STEPS = {
    "choose": "Choose the backbone, read the data",
    "freeze": "Compute embeddings",
    "head": "Add the head",
    "train": "Train the head",
    "fine_tune": "Fine-tune",
    "evaluate": "Evaluate",
}


def learning(history: Sequence[dict[str, Any]], seconds: Mapping[str, float]) -> Section | None:
    """Loss by epoch, or by strength of the penalty, for each step of the training; time of each step."""
    figures, tables = [], []
    if seconds:
        total = sum(seconds.values()) or 1.0
        rows = [
            [_STEPS.get(step, shortened(step)), number(spent), f"{number(100 * spent / total)} %"]
            for step, spent in [*seconds.items()][:_MOST_ROWS]
        ]
        tables.append(Table("Time of each step", ["Step", "Seconds", "Share"], rows))
    for step, group in groupby(history[:_MOST_ROWS], key=lambda entry: str(entry.get("step", "train"))):
        entries = list(group)
        by = "epoch" if "epoch" in entries[0] else next((key for key in entries[0] if key != "step"), "")
        names = [
            name for name in dict.fromkeys(k for one in entries for k in one) if name not in ("step", by)
        ]
        name = step.replace("_", "-")
        rows = [[number(one.get(by)), *(number(one.get(column)) for column in names)] for one in entries]
        columns = [title_of(column) for column in (by, *names)]
        tables.append(Table(f"History of the step {name}", columns, rows))
        losses = [column for column in names if "loss" in column]
        lines = [Line(title_of(column), _points(entries, by, column)) for column in losses]
        if any(len(line.points) > 1 for line in lines):
            caption = f"Loss of the step {name} by {by}"
            figures.append((caption, line_chart(lines, caption, _axis(by), "loss")))
    return Section("Training", figures=figures, tables=tables) if tables else None


def _points(entries: Sequence[dict[str, Any]], by: str, column: str) -> list[tuple[float, float]]:
    known = [
        one for one in entries if isinstance(one.get(by), int | float) and number(one.get(column)) != "–"
    ]
    known = [one for one in known if by != "strength" or one[by] > 0]
    return sorted((log10(one[by]) if by == "strength" else one[by], one[column]) for one in known)


def _axis(by: str) -> str:
    """Strengths are powers of 10."""
    return "log₁₀ of the strength" if by == "strength" else by
