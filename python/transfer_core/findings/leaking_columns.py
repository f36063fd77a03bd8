"""Columns of a table that by themselves predict the label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transfer_core.findings.examples import Examples, Finding
from transfer_core.findings.single_feature import strength_of

# Accuracy of a single column that is too good to be true, and the least share of the errors it must avoid.
_ACCURACY = 0.95
_AVOIDED = 0.5
_SIGNIFICANT = 0.001


def leaking_columns(examples: Examples, columns: Sequence[str], seed: int) -> list[Finding]:
    """Columns of which one alone predicts at least 95 % of the labels; the `score` is that accuracy."""
    found = []
    for number, name in enumerate(columns):
        values: list[Any] = [row[number] for row in examples.inputs]
        accuracy, baseline, p_value = strength_of(values, examples.classes, seed)
        avoided = (accuracy - baseline) / (1 - baseline) if baseline < 1 else 0.0
        if accuracy >= _ACCURACY and avoided >= _AVOIDED and p_value * len(columns) < _SIGNIFICANT:
            found.append(
                Finding(
                    "leaking_column",
                    f'the column "{name}" alone predicts {accuracy:.1%} of the labels (baseline '
                    f"{baseline:.1%}). Fix: leave it out if it is not known when predicting",
                    score=accuracy,
                )
            )
    return sorted(found, key=lambda one: -(one.score or 0))
