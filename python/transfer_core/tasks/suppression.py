"""Non-maximum suppression of predicted boxes, per class."""

from __future__ import annotations

import numpy as np

from transfer_core.data.boxes import Detections
from transfer_core.metrics.arrays import Floats, Integers

IOU = 0.5


def suppress(found: Detections, iou: float = IOU, most: int | None = None) -> Detections:
    """Keep the best of boxes of one class that overlap by more than `iou`, as torchvision's `batched_nms`.

    Parameters
    ----------
    found
        Boxes, the highest score first.
    iou
        Boxes of one class with a larger IoU than this with a better one are removed.
    most
        The number of boxes to keep at most. Default: all.
    """
    kept = [rows[_best(found.corners[rows], iou)] for rows in _by_class(found.classes)]
    order = np.sort(np.concatenate([np.zeros(0, np.int64), *kept]))
    return found.take(order[:most])


def overlaps(box: Floats, others: Floats) -> tuple[Floats, Floats]:
    """Intersection and union of a box (4,) with others (M, 4)."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = sides.clip(min=0).prod(axis=1)
    areas = (others[:, 2:] - others[:, :2]).prod(axis=1)
    return shared, (box[2:] - box[:2]).prod() + areas - shared


def _by_class(classes: Integers) -> list[Integers]:
    return [np.flatnonzero(classes == kind) for kind in np.unique(classes)]


def _best(corners: Floats, iou: float) -> list[int]:
    """Row numbers of boxes, sorted by score, that no better one suppresses."""
    kept = []
    left = np.arange(len(corners))
    while len(left):
        first, left = int(left[0]), left[1:]
        kept.append(first)
        shared, union = overlaps(corners[first], corners[left])
        left = left[shared <= iou * union]
    return kept
