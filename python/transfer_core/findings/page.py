"""Page about an audit: a table of all findings, and the inputs of the first ones of each kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from transfer_core.data.bad_input import escaped, printable
from transfer_core.findings.examples import Examples, Finding, Key
from transfer_core.findings.report import AuditReport
from transfer_core.report import Example, Section, Table, render_page
from transfer_core.report.numbers import number, shortened
from transfer_core.report.thumbnails import PICTURE, thumbnail

# Findings of a kind that are shown with their inputs, and rows of a table.
_MOST_SHOWN, _MOST_ROWS = 60, 1000
_COLUMNS = ("Input", "Label", "Suggested", "Finding")
_TITLES = {
    "unreadable": "Unreadable inputs",
    "duplicate": "Exact duplicates",
    "near_duplicate": "Near-duplicates",
    "wrong_label": "Candidates for wrong labels",
    "outlier": "Outliers",
    "imbalance": "Rare labels",
    "leaking_column": "Leaking columns",
    "spurious_cue": "Spurious cues",
    "group": "Groups in several parts",
}


def audit_page(report: AuditReport, examples: Examples) -> str:
    """Render an audit as one HTML page.

    Parameters
    ----------
    report
        The result of the audit.
    examples
        The readable examples; images are read again for their thumbnails.
    """
    inputs = dict(zip(examples.keys, examples.inputs, strict=True))
    kinds = [_kind(kind, report, inputs) for kind in report.counts]
    labels = [(shortened(label), number(count)) for label, count in list(report.labels.items())[:_MOST_ROWS]]
    tables = [Table("Examples of each label", ["Label", "Examples"], labels)] if labels else []
    return render_page("Audit of labelled data", [_summary(report), *kinds, Section("Labels", tables=tables)])


def _summary(report: AuditReport) -> Section:
    text = [
        f"{number(report.examples)} readable examples ({report.modality}, {report.task.replace('_', '-')}), "
        f"{number(len(report.findings))} findings. A finding is a candidate: look at it before you change "
        "the data."
    ]
    rows = [(_TITLES[kind], number(count)) for kind, count in report.counts.items()]
    return Section("Summary", text, tables=[Table("Findings", ["Kind", "Findings"], rows)] if rows else ())


def _kind(kind: str, report: AuditReport, inputs: Mapping[Key, Any]) -> Section:
    found = report.of(kind)
    shown = [_example(one, report.modality, inputs) for one in found[:_MOST_SHOWN] if one.input in inputs]
    text = [f"{number(len(shown))} of {number(len(found))} are shown."] if shown else []
    parts = [
        (_place(one.input), *(shortened(part or "") for part in (one.label, one.suggested, one.detail)))
        for one in found[:_MOST_ROWS]
    ]
    filled = [place for place, column in enumerate(zip(*parts, strict=True)) if any(column)]
    columns = [_COLUMNS[place] for place in filled]
    rows = [[row[place] for place in filled] for row in parts]
    title = _TITLES[kind]
    table = Table(f"{title}: {number(len(rows))} of {number(len(found))}", columns, rows, folded=bool(shown))
    return Section(title, text, tables=[table], examples=shown)


def _example(one: Finding, modality: str, inputs: Mapping[Key, Any]) -> Example:
    assert one.input is not None
    lines = [f"Label: {shortened(one.label or 'none')}"]
    if one.suggested:
        lines.append(f"Suggested: {shortened(one.suggested)}")
    picture = other = None
    if modality == "image":
        picture = thumbnail(inputs[one.input], PICTURE)
        if one.other is not None and one.other in inputs:
            other = thumbnail(inputs[one.other], PICTURE)
    else:
        lines.insert(0, _shown(inputs[one.input]))
    return Example(_short(one.input), [*lines, shortened(one.detail)], picture, original=other)


def _shown(input: Any) -> str:
    cells = (input,) if isinstance(input, str) else input
    return shortened(printable(", ".join(map(str, cells))))


def _short(key: Key) -> str:
    """The end of a path, or the number of a row."""
    return escaped("/".join(PurePath(key).parts[-2:])) if isinstance(key, str) else f"row {key}"


def _place(key: Key | None) -> str:
    return "the data" if key is None else printable(key) if isinstance(key, str) else f"row {key}"
