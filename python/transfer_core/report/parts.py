"""The parts of a report as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from markupsafe import Markup


class Cell(NamedTuple):
    """Text of a cell; `heat` 0 to 9 shades it; `gallery` has the examples that it counts, and `icon` is a
    JPEG of one of them."""

    text: str
    heat: int | None = None
    gallery: Gallery | None = None
    icon: bytes | None = None


@dataclass(frozen=True)
class Table:
    """A table whose first column has the names of its rows.

    `folded` hides it below a figure; a `matrix` has narrow columns.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    folded: bool = False
    matrix: bool = False

    @property
    def galleries(self) -> list[Gallery]:
        """The galleries of the cells."""
        cells = (cell for row in self.rows for cell in row if isinstance(cell, Cell))
        return [cell.gallery for cell in cells if cell.gallery]


@dataclass(frozen=True)
class Example:
    """An input with lines about it.

    Attributes
    ----------
    input
        The end of a path, a text, or the cells of a row.
    lines
        Lines about truth and prediction.
    thumbnail
        JPEG of an image.
    overlay
        JPEG of an image with the contributions to its prediction.
    contributions
        Words or columns with their contributions, the largest first.
    original
        JPEG of the image that this one is a copy of.
    """

    input: str
    lines: Sequence[str]
    thumbnail: bytes | None = None
    overlay: bytes | None = None
    contributions: Sequence[tuple[str, float]] = ()
    original: bytes | None = None


class Gallery(NamedTuple):
    """Examples that open from a cell. `name` is unique in a page."""

    name: str
    title: str
    examples: Sequence[Example]


class Scores(NamedTuple):
    """Probabilities (N, K) with the true labels (N, K) bool, and the group of each example."""

    probabilities: npt.NDArray[np.float64]
    truth: npt.NDArray[np.bool_]
    groups: Sequence[str | None]


class Faithfulness(NamedTuple):
    """Measures of `Model.faithfulness` as plain data, or None if their estimated `seconds` are too many."""

    measures: Mapping[str, Any] | None
    seconds: float


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
    cells
        Examples by true and predicted class, of a part of the measured examples.
    icons
        JPEG of one example, by true and predicted class.
    scores
        Probabilities and true labels.
    unknown
        Examples that are flagged as unknown, the most novel first; None if novelty is not detected.
    flagged
        The number of all flagged examples.
    faithfulness
        Whether explanations are faithful; None for models and data without this measure.
    """

    worst: Sequence[Example] = ()
    mistakes: int | None = None
    measured: int = 0
    certainty: Sequence[tuple[float, bool]] = ()
    residuals: Sequence[tuple[float, float]] = ()
    thumbnails: Mapping[str, bytes] = field(default_factory=dict)
    cells: Mapping[tuple[int, int], Sequence[Example]] = field(default_factory=dict)
    icons: Mapping[tuple[int, int], bytes] = field(default_factory=dict)
    scores: Scores | None = None
    unknown: Sequence[Example] | None = None
    flagged: int = 0
    faithfulness: Faithfulness | None = None


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
