"""Tiles of photos much larger than the network's input, and the boxes found in them.

Akyon, Altinuc & Temizel, Slicing Aided Hyper Inference and Fine-Tuning for Small Object Detection, ICIP 2022:
the detector sees the whole photo and overlapping tiles of it; boxes are merged by non-maximum suppression.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from transfer_core.data.boxes import Detections, detections_of
from transfer_core.metrics.arrays import Floats
from transfer_core.tasks.suppression import IOU, overlaps, suppress

OVERLAP = 0.25
# A photo is cut if its longer side is larger than the tile by this factor.
_LARGER = 1.5
_MOST_TILES = 400
# A box that ends within so many pixels of a cut is likely to be a part of an object.
_AT_CUT = 3.0
# Share of a partial box within a box of another view that makes it a part of the same object.
_WITHIN = 0.6


class Tile(NamedTuple):
    """A part of a photo in pixels; x2 and y2 are exclusive."""

    x1: int
    y1: int
    x2: int
    y2: int


def tiles(width: int, height: int, side: int, overlap: float = OVERLAP) -> list[Tile]:
    """The whole photo, and square tiles that cover it if it is much larger than `side`.

    Parameters
    ----------
    width, height
        Of the photo in pixels.
    side
        Of the network's input; larger where the photo would need more than 400 tiles.
    overlap
        The share of a tile that neighbours share at least.

    Examples
    --------
    >>> tiles(600, 300, 300)
    [Tile(x1=0, y1=0, x2=600, y2=300), Tile(x1=0, y1=0, x2=300, y2=300), \
Tile(x1=150, y1=0, x2=450, y2=300), Tile(x1=300, y1=0, x2=600, y2=300)]
    >>> tiles(300, 200, 300)
    [Tile(x1=0, y1=0, x2=300, y2=200)]
    """
    whole = Tile(0, 0, width, height)
    if max(width, height) <= _LARGER * side:
        return [whole]
    while True:
        across, down = _starts(width, side, overlap), _starts(height, side, overlap)
        if len(across) * len(down) <= _MOST_TILES:
            break
        side = math.ceil(side * 1.25)
    cuts = [Tile(x, y, min(x + side, width), min(y + side, height)) for y in down for x in across]
    return [whole, *cuts]


def merge(parts: Sequence[Detections], places: Sequence[Tile], iou: float = IOU) -> Detections:
    """Merge the boxes of the tiles of one photo, given in pixels of their tile.

    A box that ends at a cut is removed if most of it lies within a box of the same class from another tile,
    whatever the scores; the rest is suppressed per class.

    Parameters
    ----------
    parts, places
        The boxes of each tile, and the tiles; the first is the whole photo.
    iou
        See `suppress`.
    """
    whole = places[0]
    offsets = [np.array([place.x1, place.y1] * 2) for place in places]
    shifted = [part.corners + offset for part, offset in zip(parts, offsets, strict=True)]
    cut = [_is_cut(corners, place, whole) for corners, place in zip(shifted, places, strict=True)]
    corners, partial = np.concatenate(shifted), np.concatenate(cut)
    classes = np.concatenate([part.classes for part in parts])
    scores = np.concatenate([part.scores for part in parts])
    tile = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    keep = np.ones(len(scores), bool)
    for row in np.flatnonzero(partial):
        others = np.flatnonzero((classes == classes[row]) & (tile != tile[row]) & keep)
        own, theirs = corners[row], corners[others]
        area = (own[2:] - own[:2]).prod()
        larger = (theirs[:, 2:] - theirs[:, :2]).prod(axis=1) > area
        shared, _ = overlaps(own, theirs)
        keep[row] = not (larger & (shared > _WITHIN * area)).any()
    return suppress(detections_of(corners[keep], classes[keep], scores[keep]), iou)


def _starts(length: int, side: int, overlap: float) -> list[int]:
    """Evenly spaced starts of tiles along one axis."""
    if length <= side:
        return [0]
    count = math.ceil((length - side) / (side * (1 - overlap))) + 1
    return [round(place * (length - side) / (count - 1)) for place in range(count)]


def _is_cut(corners: Floats, place: Tile, whole: Tile) -> npt.NDArray[np.bool_]:
    """Which boxes (M, 4) end at an edge of their tile that is no edge of the photo, bool (M,)."""
    edges, outer = np.array(place), np.array(whole)
    near = (np.abs(corners - edges) <= _AT_CUT) & (edges != outer)
    return np.asarray(near.any(axis=1))
