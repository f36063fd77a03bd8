"""Boxes of object detection: as a data set gives them, as encoded targets, and as a model predicts them.

All coordinates are pixels of the upright photo, after its EXIF orientation has been applied: x from the left
edge, y from the top edge; a box covers x1 ≤ x < x2 and y1 ≤ y < y2, and may have fractional corners.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Box:
    """One labelled box as a data set gives it.

    Attributes
    ----------
    label
        Name of the class.
    corners
        x1, y1, x2, y2; not yet checked against the photo.
    where
        Display name of its origin: `signs.csv line 4`.
    crowd
        Whether it covers a group of objects (`iscrowd` of COCO): neither trained on nor measured.
    area
        Area of the object in pixels, which decides its size in the metrics. Default: that of the box.
    """

    label: str
    corners: tuple[float, float, float, float]
    where: str
    crowd: bool = False
    area: float | None = None


@dataclass(frozen=True, slots=True)
class BoxLabel:
    """The label of one example: its boxes, none for a photo without objects.

    Attributes
    ----------
    boxes
        The boxes.
    relative
        Whether corners are shares of the photo's sides, as in YOLO files, rather than pixels.
    size
        Width and height of the photo as the data set states them; None if it does not.
    problems
        Annotations that can't be read, each as `signs.csv line 4: reason`.
    """

    boxes: tuple[Box, ...] = ()
    relative: bool = False
    size: tuple[float, float] | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """Encoded boxes of one photo: an element of `Dataset.targets`, which is an object array (N,).

    Attributes
    ----------
    corners
        (B, 4) float64: x1, y1, x2, y2 within the photo.
    classes
        (B,) int64, indices into the labels.
    crowd
        (B,) bool: boxes around groups, see `Box`.
    areas
        (B,) float64: areas of the objects, see `Box`.
    size
        Width and height of the upright photo in pixels.
    """

    corners: npt.NDArray[np.float64]
    classes: npt.NDArray[np.int64]
    crowd: npt.NDArray[np.bool_]
    areas: npt.NDArray[np.float64]
    size: tuple[float, float]

    def __len__(self) -> int:
        return len(self.classes)

    def take(self, rows: Any) -> Boxes:
        """Select boxes by index or mask."""
        return Boxes(self.corners[rows], self.classes[rows], self.crowd[rows], self.areas[rows], self.size)

    @property
    def objects(self) -> Boxes:
        """The boxes around single objects, which a network is trained on."""
        return self.take(~self.crowd) if self.crowd.any() else self


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Predicted boxes of one photo, the highest score first.

    Attributes
    ----------
    corners
        (D, 4) float64: x1, y1, x2, y2.
    classes
        (D,) int64, indices into the labels.
    scores
        (D,) float64, 0 to 1.
    """

    corners: npt.NDArray[np.float64]
    classes: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.classes)

    def take(self, rows: Any) -> Detections:
        """Select boxes by index or mask."""
        return Detections(self.corners[rows], self.classes[rows], self.scores[rows])


def boxes_of(
    corners: npt.ArrayLike,
    classes: npt.ArrayLike,
    crowd: npt.ArrayLike | None = None,
    areas: npt.ArrayLike | None = None,
    size: tuple[float, float] = (0, 0),
) -> Boxes:
    """Build `Boxes` from corners (B, 4) and classes (B,); `areas` default to those of the boxes.

    Examples
    --------
    >>> boxes_of([[10, 20, 30, 60]], [0]).areas.tolist()
    [800.0]
    """
    four = np.asarray(corners, np.float64).reshape(-1, 4)
    flags = np.zeros(len(four), bool) if crowd is None else np.asarray(crowd, bool)
    sizes = (four[:, 2:] - four[:, :2]).prod(axis=1) if areas is None else np.asarray(areas, np.float64)
    return Boxes(four, np.asarray(classes, np.int64).reshape(-1), flags, sizes, size)


def detections_of(corners: npt.ArrayLike, classes: npt.ArrayLike, scores: npt.ArrayLike) -> Detections:
    """Build `Detections` from corners (D, 4), classes (D,) and scores (D,), sorted by score."""
    found = Detections(
        np.asarray(corners, np.float64).reshape(-1, 4),
        np.asarray(classes, np.int64).reshape(-1),
        np.asarray(scores, np.float64).reshape(-1),
    )
    return found.take(np.argsort(-found.scores, kind="stable"))


def ragged(rows: Iterable[Any]) -> npt.NDArray[np.object_]:
    """An object array (N,) of N values, such as the targets of a `Dataset`."""
    values = list(rows)
    array = np.empty(len(values), object)
    for row, value in enumerate(values):
        array[row] = value
    return array


def clipped(found: Detections, size: tuple[int, int]) -> Detections:
    """Clip boxes to a photo of this width and height; boxes outside are removed."""
    corners = np.clip(found.corners, 0, np.tile(size, 2))
    inside = replace(found, corners=corners)
    return inside.take((corners[:, 2:] > corners[:, :2]).all(axis=1))


def as_rows(boxes: Boxes | Detections, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Convert to plain data: `label`, `x`, `y`, `width` and `height` of each box."""
    rows = []
    for (x1, y1, x2, y2), kind in zip(boxes.corners.tolist(), boxes.classes.tolist(), strict=True):
        rows.append({"label": labels[kind], "x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1})
    return rows
