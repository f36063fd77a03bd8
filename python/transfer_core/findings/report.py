"""Result of an audit: findings as data, as a text and as a table to correct."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transfer_core.data.bad_input import printable
from transfer_core.data.corrections import COLUMNS
from transfer_core.findings.examples import Finding
from transfer_core.runtime.atomic import replacing
from transfer_core.runtime.tables import html

_SHOWN = 10


@dataclass(frozen=True)
class AuditReport:
    """Result of an audit.

    Attributes
    ----------
    modality, task
        The kind of input, and the name of the task.
    examples
        Number of readable examples.
    labels
        Label to number of examples; empty of a regression.
    findings
        The findings, by kind.
    """

    modality: str
    task: str
    examples: int
    labels: dict[str, int]
    findings: tuple[Finding, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Kind to number of findings."""
        return dict(Counter(one.kind for one in self.findings))

    def of(self, kind: str) -> tuple[Finding, ...]:
        """The findings of one kind."""
        return tuple(one for one in self.findings if one.kind == kind)

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain data."""
        return {**asdict(self), "findings": [asdict(one) for one in self.findings]}

    def _repr_html_(self) -> str:
        return html(self.to_dict())

    def save(self, path: str | Path) -> None:
        """Write the findings about single inputs as CSV, to be corrected and given to `corrections`."""
        with (
            replacing(path) as temporary,
            open(temporary, "w", newline="", encoding="utf-8", errors="backslashreplace") as file,
        ):
            table = csv.writer(file, lineterminator="\n")
            table.writerow(COLUMNS)
            for one in self.findings:
                if one.input is not None:
                    score = "" if one.score is None else f"{one.score:.4f}"
                    keep = "yes" if one.keep else "no"
                    label, suggested = one.label or "", one.suggested or ""
                    table.writerow([one.input, one.kind, label, suggested, score, keep, one.detail])

    def __str__(self) -> str:
        lines = [f"{self.examples} readable examples, {len(self.findings)} findings"]
        for kind, count in self.counts.items():
            lines += ["", f"{kind} ({count})"]
            lines += [f"  {_line(one)}" for one in self.of(kind)[:_SHOWN]]
            if count > _SHOWN:
                lines.append(f"  and {count - _SHOWN} more")
        return "\n".join(lines)


def _line(one: Finding) -> str:
    place = "" if one.input is None else one.input if isinstance(one.input, str) else f"row {one.input}"
    label = f"{one.label} → {one.suggested}" if one.suggested else one.label or ""
    return "  ".join(printable(text) for text in (place, label, one.detail) if text)
