"""The parts of a report as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from markupsafe import Markup


class Cell(NamedTuple):
    """Text of a cell; `heat` 0 to 9 shades it."""

    text: str
    heat: int | None = None


@dataclass(frozen=True)
class Table:
    """A table whose first column has the names of its rows; `folded` hides it below a figure."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    folded: bool = False


@dataclass(frozen=True)
class Example:
    """A measured example: its input, lines about truth and prediction, and a thumbnail as JPEG."""

    input: str
    lines: Sequence[str]
    thumbnail: bytes | None = None


@dataclass(frozen=True)
class Examples:
    """Predictions for labelled data.

    Attributes
    ----------
    worst
        The worst mistakes, the worst first.
    mistakes
        The number of all mistakes; None for numbers, which are never exactly right.
    measured
        The number of predicted examples.
    certainty
        Of a classification, the highest probability and whether it was right, for each example.
    residuals
        Of a regression, prediction and error, for each example.
    thumbnails
        Thumbnails by the name of an image in `worst` of the metrics.
    """

    worst: Sequence[Example] = ()
    mistakes: int | None = None
    measured: int = 0
    certainty: Sequence[tuple[float, bool]] = ()
    residuals: Sequence[tuple[float, float]] = ()
    thumbnails: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Section:
    """A section of the page; `figures` have their caption as text alternative."""

    title: str
    text: Sequence[str] = ()
    figures: Sequence[tuple[str, Markup]] = ()
    tables: Sequence[Table] = ()
    examples: Sequence[Example] = ()
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class Report:
    """A report: the model summary (docs/reference/protocol.md), its metrics, and the sections of the page."""

    title: str
    summary: dict[str, Any]
    metrics: dict[str, Any]
    sections: Sequence[Section]
