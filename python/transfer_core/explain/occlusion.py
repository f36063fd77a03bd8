"""Occlusion: the change of the score when a part of the input is removed (Zeiler and Fergus 2014, 4.2).

It needs predictions alone, so it explains every backbone and head.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from transfer_core.explain.case import Attribution, Case
from transfer_core.features.pixels import Pixels
from transfer_core.tasks.criteria import Array

# Cells per side of an image, and those that are covered at a time.
CELLS, COVERED = 8, 2
_SQUARES = tuple(np.ndindex(CELLS - COVERED + 1, CELLS - COVERED + 1))
# Parts that a text is divided into, at most.
MOST_PARTS = 100


def occluded_image(case: Case) -> Attribution:
    """Cover squares of the image with its mean color; a cell has the mean over squares that cover it."""
    return Attribution(heatmap=averaged(_drops(case, list(covered_squares(case.loaded)))))


def covered_squares(pixels: Pixels) -> Iterator[Pixels]:
    """Copies of an image (H, W, 3), each with another square of cells in its mean color."""
    edges = [np.linspace(0, side, CELLS + 1).astype(int) for side in pixels.shape[:2]]
    color = pixels.mean(axis=(0, 1)).astype(np.uint8)
    for row, column in _SQUARES:
        changed = pixels.copy()
        rows = slice(edges[0][row], edges[0][row + COVERED])
        changed[rows, edges[1][column] : edges[1][column + COVERED]] = color
        yield changed


def averaged(drops: Array) -> Array:
    """Drops of the score by covered square to means (CELLS, CELLS) over the squares that cover a cell."""
    total, count = np.zeros((CELLS, CELLS)), np.zeros((CELLS, CELLS))
    for (row, column), drop in zip(_SQUARES, drops, strict=True):
        square = np.s_[row : row + COVERED, column : column + COVERED]
        total[square] += drop
        count[square] += 1
    mean: Array = total / count
    return mean


def occluded_text(case: Case) -> Attribution:
    """Leave out each word, of a long text each run of words; characters of a text that is a single word."""
    sides = (case.loaded,) if isinstance(case.loaded, str) else tuple(case.loaded)
    parts = [(number, *span) for number, text in enumerate(sides) for span in _spans(text)]
    step = -(-len(parts) // MOST_PARTS)
    runs: list[tuple[int, int, int]] = []
    for number in range(len(sides)):
        own = [part for part in parts if part[0] == number]
        groups = [own[start : start + step] for start in range(0, len(own), step)]
        runs += [(number, group[0][1], group[-1][2]) for group in groups]
    changed = []
    for number, start, end in runs:
        without = [*sides]
        without[number] = sides[number][:start] + sides[number][end:]
        changed.append(without[0] if len(sides) == 1 else tuple(without))
    drops = _drops(case, changed)
    names = [sides[number][start:end] for number, start, end in runs]
    return Attribution(tokens=tuple(zip(names, drops.tolist(), strict=True)))


def occluded_row(case: Case) -> Attribution:
    """Empty each column, which preprocessing replaces by the median or an unknown category."""
    rows = [(*case.cells[:place], None, *case.cells[place + 1 :]) for place in range(len(case.cells))]
    drops = _drops(case, [case.load(row) for row in rows])
    return Attribution(columns=dict(zip(case.columns, drops.tolist(), strict=True)))


def _drops(case: Case, changed: list[object]) -> Array:
    """The score of the input minus those of the changed inputs, (N,)."""
    scores = case.score([case.loaded, *changed])
    found: Array = scores[0] - scores[1:]
    return found


def _spans(text: str) -> list[tuple[int, int]]:
    words = [match.span() for match in re.finditer(r"\S+", text)]
    return words if len(words) > 1 else [(place, place + 1) for place in range(len(text))]
