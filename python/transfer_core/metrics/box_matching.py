"""Match predicted boxes with the truth as the COCO evaluation does.

Each detection, the highest score first, takes the free true box of its class with the highest IoU above a
threshold. Boxes around groups (`iscrowd`) and objects outside a range of areas are ignored: a detection that
takes one counts neither as right nor as wrong. Lin et al., Microsoft COCO, ECCV 2014; pycocotools 2.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer_core.data.boxes import Boxes, Detections
from transfer_core.metrics.arrays import Floats, Integers

# IoU thresholds of COCO, 0.5 to 0.95.
IOU_THRESHOLDS: Floats = np.linspace(0.5, 0.95, 10)
# Detections of one class in one image that count.
MOST_DETECTIONS = 100
_NONE = -1
# Pairs of boxes whose IoU is computed at a time.
_AT_ONCE = 1 << 20

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Columns:
    """All N images as columns.

    Attributes
    ----------
    image, kind, corners, scores, rank
        Of D detections: image, class, corners (D, 4), score, and position by score among those of the same
        image and class. Sorted by image, class and rank.
    true_image, true_kind, true_corners, true_areas, crowd
        Of B true boxes, sorted by image and class.
    images, classes
        N and K.
    """

    image: Integers
    kind: Integers
    corners: Floats
    scores: Floats
    rank: Integers
    true_image: Integers
    true_kind: Integers
    true_corners: Floats
    true_areas: Floats
    crowd: Flags
    images: int
    classes: int


@dataclass(frozen=True, eq=False)
class Matches:
    """Matches in one range of areas.

    Attributes
    ----------
    true_of
        (D, T): the true box that each detection took at each IoU threshold, or -1.
    ignored
        (D, T): the detection counts neither as right nor as wrong.
    counted
        (B,): the true boxes that count.
    """

    true_of: Integers
    ignored: Flags
    counted: Flags


def columns(detections: Sequence[Detections], truth: Sequence[Boxes], classes: int) -> Columns:
    """Gather N images; of each image and class the `MOST_DETECTIONS` detections with the highest scores."""
    found = _stacked(detections, ("corners", "classes", "scores"))
    true = _stacked(truth, ("corners", "classes", "areas", "crowd"))
    order = np.lexsort((-found["scores"], found["classes"], found["image"]))
    image, kind = found["image"][order], found["classes"][order]
    rank = _position_in_run(image * classes + kind)
    some = order[rank < MOST_DETECTIONS]
    by_class = np.lexsort((true["classes"], true["image"]))
    return Columns(
        found["image"][some],
        found["classes"][some],
        found["corners"][some],
        found["scores"][some],
        rank[rank < MOST_DETECTIONS],
        true["image"][by_class],
        true["classes"][by_class],
        true["corners"][by_class],
        true["areas"][by_class],
        true["crowd"][by_class],
        len(truth),
        classes,
    )


@dataclass(frozen=True, eq=False)
class Pairs:
    """P pairs of a detection and a true box of one image and class that overlap enough."""

    detection: Integers
    true: Integers
    overlap: Floats


def overlapping(found: Columns, least: float) -> Pairs:
    """All pairs of one image and class with an IoU of at least `least`."""
    parts = [
        Pairs(detection[enough], true[enough], overlap[enough])
        for detection, true in _pairs(found)
        for overlap in [_overlap(found, detection, true)]
        for enough in [overlap >= min(least, 1 - 1e-10)]
    ]
    if not parts:
        none = np.zeros(0, np.int64)
        return Pairs(none, none, np.zeros(0))
    return Pairs(
        np.concatenate([part.detection for part in parts]),
        np.concatenate([part.true for part in parts]),
        np.concatenate([part.overlap for part in parts]),
    )


def match_pairs(
    found: Columns, pairs: Pairs, smallest: float, largest: float, thresholds: Floats = IOU_THRESHOLDS
) -> Matches:
    """Match all detections in the range of areas from `smallest` to `largest` square pixels.

    Parameters
    ----------
    found
        The columns.
    pairs
        All pairs with an IoU of at least the lowest of `thresholds`.
    smallest, largest
        Range of areas.
    thresholds
        (T,) IoU thresholds.
    """
    areas = found.true_areas
    ignored_true = found.crowd | (areas < smallest) | (areas > largest)
    true_of = np.full((len(found.scores), len(thresholds)), _NONE, np.int64)
    least = np.minimum(thresholds, 1 - 1e-10)
    taken = np.zeros((len(areas), len(thresholds)), bool)

    # Round r handles the r-th detection of every image and class that has any pair.
    having = np.unique(pairs.detection)
    rank = np.zeros(len(found.scores), np.int64)
    rank[having] = _position_in_run(found.image[having] * found.classes + found.kind[having])
    # Within a detection: boxes that count first, then by IoU; of equal ones the last.
    order = np.lexsort(
        (
            -pairs.true,
            -pairs.overlap,
            ignored_true[pairs.true],
            pairs.detection,
            rank[pairs.detection],
        )
    )
    detection, true, overlap = pairs.detection[order], pairs.true[order], pairs.overlap[order]
    bounds = np.flatnonzero(np.diff(rank[detection], prepend=-1, append=-1))
    for start, end in pairwise(bounds):
        own, candidates = detection[start:end], true[start:end]
        free = (~taken[candidates] | found.crowd[candidates, None]) & (overlap[start:end, None] >= least)
        first = np.flatnonzero(np.diff(own, prepend=-1))
        places = np.where(free, np.arange(end - start)[:, None], end - start)
        best = np.minimum.reduceat(places, first, axis=0)  # (detections of the round, T)
        row, column = np.nonzero(best < end - start)
        chosen = candidates[best[row, column]]
        taken[chosen, column] = True
        true_of[own[first][row], column] = chosen

    sides = found.corners[:, 2:] - found.corners[:, :2]
    own_areas = sides.prod(axis=1)
    outside = (own_areas < smallest) | (own_areas > largest)
    matched = true_of != _NONE
    ignored = np.where(matched, ignored_true[true_of], outside[:, None]) if len(areas) else outside[:, None]
    return Matches(true_of, np.broadcast_to(ignored, true_of.shape), ~ignored_true)


def _stacked(rows: Sequence[Any], names: Sequence[str]) -> dict[str, Any]:
    """Columns of all rows, and the number of the row of each entry as `image`."""
    empty = {"corners": np.zeros((0, 4)), "classes": np.zeros(0, np.int64), "crowd": np.zeros(0, bool)}
    stacked = {
        name: np.concatenate([empty.get(name, np.zeros(0)), *(getattr(row, name) for row in rows)])
        for name in names
    }
    counts = [len(row) for row in rows]
    return {**stacked, "image": np.repeat(np.arange(len(rows)), counts)}


def _position_in_run(values: Integers) -> Integers:
    """The position of each value within its run of equal ones, from sorted values."""
    if not len(values):
        return np.zeros(0, np.int64)
    starts = np.flatnonzero(np.diff(values, prepend=values[0] - 1))
    lengths = np.diff(starts, append=len(values))
    return np.arange(len(values)) - np.repeat(starts, lengths)


def _pairs(found: Columns) -> Iterator[tuple[Integers, Integers]]:
    """All pairs of a detection and a true box of one image and class, about `_AT_ONCE` at a time."""
    keys = found.image * found.classes + found.kind
    true_keys = found.true_image * found.classes + found.true_kind
    start = np.searchsorted(true_keys, keys, "left")
    count = np.searchsorted(true_keys, keys, "right") - start
    having = np.flatnonzero(count)
    part_of = np.cumsum(count[having]) // _AT_ONCE
    for part in np.split(having, np.flatnonzero(np.diff(part_of)) + 1):
        counts = count[part]
        first = np.repeat(start[part] - (np.cumsum(counts) - counts), counts)
        yield np.repeat(part, counts), first + np.arange(counts.sum())


def _overlap(found: Columns, detection: Integers, true: Integers) -> Floats:
    """IoU of pairs; for groups the share of the detection that lies within."""
    own, other = found.corners[detection], found.true_corners[true]
    sides = np.minimum(own[:, 2:], other[:, 2:]) - np.maximum(own[:, :2], other[:, :2])
    shared = np.where((sides > 0).all(axis=1), sides.prod(axis=1), 0.0)
    area = (own[:, 2:] - own[:, :2]).prod(axis=1)
    other_area = (other[:, 2:] - other[:, :2]).prod(axis=1)
    union = np.where(found.crowd[true], area, area + other_area - shared)
    overlap: Floats = np.divide(shared, union, out=np.zeros(len(shared)), where=union > 0)
    return overlap
