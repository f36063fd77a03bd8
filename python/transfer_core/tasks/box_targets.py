"""Encoding and checks of the targets of object detection: classes with boxes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from transfer_core.data import DataSplits
from transfer_core.data.bad_input import counted, listed, printable
from transfer_core.data.boxes import BoxLabel, boxes_of, ragged
from transfer_core.data.example import Example
from transfer_core.data.labelling import Targets
from transfer_core.data.labels import check_label_count, clean_name
from transfer_core.runtime.errors import DataError

# A class with fewer boxes is rarely detected.
_FEW_BOXES = 20


def encode_boxes(
    examples: Sequence[Example], labels: Sequence[str] | None = None
) -> tuple[tuple[str, ...], Targets]:
    """The sorted class names, and the boxes of each example: an object array (N,) of `Boxes`.

    Parameters
    ----------
    examples
        N examples with a `BoxLabel`, already checked against their photos; with a `problem` any label.
    labels
        Class names of a trained model. Default: those of the examples.

    Raises
    ------
    DataError
        An example has no boxes in this sense, or a class is unknown.
    """
    rows = [_box_label(example) for example in examples]
    names = [[clean_name(box.label, box.where) for box in row.boxes] for row in rows]
    found = {name for row in names for name in row}
    known = tuple(sorted(found)) if labels is None else tuple(labels)
    check_label_count(known, "classes")
    if unknown := sorted(found - set(known)):
        raise DataError(f"the model has no class {listed(unknown)} (its classes: {listed(known)})")
    index = {name: number for number, name in enumerate(known)}
    targets = []
    for row, own in zip(rows, names, strict=True):
        encoded = boxes_of([box.corners for box in row.boxes], [index[name] for name in own])
        areas = [encoded.areas[i] if box.area is None else box.area for i, box in enumerate(row.boxes)]
        crowd = [box.crowd for box in row.boxes]
        targets.append(boxes_of(encoded.corners, encoded.classes, crowd, areas, row.size or (0, 0)))
    return known, ragged(targets)


def has_class(targets: Targets, classes: int) -> npt.NDArray[np.bool_]:
    """Which photo has which class, (N, K); boxes around groups do not count."""
    has = np.zeros((len(targets), classes), bool)
    for row, boxes in enumerate(targets):
        has[row, boxes.objects.classes] = True
    return has


def boxes_per_class(targets: Targets, classes: int) -> npt.NDArray[np.int64]:
    """Boxes of each class, (K,)."""
    every = [boxes.objects.classes for boxes in targets]
    return np.bincount(np.concatenate([np.zeros(0, np.int64), *every]), minlength=classes)


def typical_boxes(targets: Targets, classes: int) -> npt.NDArray[np.float64]:
    """The mean box of each class (K, 4): centre x, centre y, width and height as shares of the photo."""
    objects = [boxes.objects for boxes in targets if boxes.size[0] and boxes.size[1]]
    typical = np.tile([0.5, 0.5, 1.0, 1.0], (classes, 1))
    if not objects:
        return typical
    shares = np.concatenate([boxes.corners / np.tile(boxes.size, 2) for boxes in objects])
    kinds = np.concatenate([boxes.classes for boxes in objects])
    centred = np.hstack([(shares[:, :2] + shares[:, 2:]) / 2, shares[:, 2:] - shares[:, :2]])
    for kind in np.unique(kinds):
        typical[kind] = centred[kinds == kind].mean(axis=0)
    return typical


def box_warnings(splits: DataSplits) -> Iterator[str]:
    """Classes with few training boxes."""
    counts = boxes_per_class(splits.train.targets, len(splits.labels))
    few = [
        f"{listed([label])} {count}"
        for label, count in zip(splits.labels, counts.tolist(), strict=True)
        if count < _FEW_BOXES
    ]
    if few:
        shown = ", ".join(few[:10]) + (f" and {len(few) - 10} more" if len(few) > 10 else "")
        classes = counted(len(few), "class has", "classes have")
        yield f"{classes} fewer than {_FEW_BOXES} training boxes: {shown}. Try: label more of them"


def _box_label(example: Example) -> BoxLabel:
    if example.problem is not None:
        return BoxLabel()
    if isinstance(example.label, BoxLabel):
        return example.label
    raise DataError(
        f"{printable(example.name)}: a label without boxes, but detection needs boxes. Fix: COCO JSON, YOLO, "
        "Pascal VOC, a CSV with the columns path, label, x, y, width and height, or rows {input:, boxes:}"
    )
