"""Check labelled boxes against their photos: outside, empty, swapped, duplicated, or before EXIF rotation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

from transfer_core.data.bad_input import Unreadable, counted
from transfer_core.data.boxes import Box, BoxLabel
from transfer_core.data.example import Example
from transfer_core.data.photo_size import PhotoSize, photo_size
from transfer_core.runtime.bad_input_report import listed_in_full, named
from transfer_core.runtime.devices import cores
from transfer_core.runtime.progress import Progress

# Annotation tools round and let boxes reach a little over the edge: pixels, and the share of the side.
_OVERHANG, _OVERHANG_SHARE = 2.0, 0.02
# Far above any photo, and far below what loses precision.
_LARGEST = 1e7


@dataclass(frozen=True)
class CheckedBoxes:
    """Boxes within the photo in pixels, and messages.

    `size` is that of the upright photo. `problems` make the image unusable, because an object would stay
    unlabelled; `removed` are boxes that can be left out without that; `clipped` reached a little too far.
    """

    boxes: tuple[Box, ...] = ()
    size: tuple[float, float] = (0, 0)
    problems: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    clipped: tuple[str, ...] = ()


def check_examples(
    examples: Sequence[Example], on_bad_input: Literal["raise", "skip"], progress: Progress
) -> list[Example]:
    """Check the boxes of all examples and convert them to pixels.

    Parameters
    ----------
    examples
        Examples with a `BoxLabel`; others are returned unchanged.
    on_bad_input
        With `skip`, empty boxes and duplicates are left out with a warning, and other problems make the whole
        image unusable; with `raise`, all of them do.
    progress
        Progress events, warnings and cancellation.
    """
    pool = ThreadPoolExecutor(cores(), thread_name_prefix="boxes")
    checked: list[Example] = []
    removed: list[str] = []
    clipped: list[str] = []
    try:
        found = progress.track(pool.map(_check, examples), "choose", len(examples), "images")
        for example, result in zip(examples, found, strict=True):
            problems = result.problems + (result.removed if on_bad_input == "raise" else ())
            if problems:
                checked.append(replace(example, problem=named(problems)))
                continue
            removed += result.removed
            clipped += result.clipped
            label = example.label
            if isinstance(label, BoxLabel):
                label = replace(label, boxes=result.boxes, relative=False, size=result.size)
            checked.append(replace(example, label=label))
    finally:
        pool.shutdown(cancel_futures=True)
    if removed:
        progress.warning(f"left out {counted(len(removed), 'box', 'boxes')}: {listed_in_full(removed)}")
    if clipped:
        boxes = counted(len(clipped), "box", "boxes")
        progress.warning(f"clipped {boxes} at the edge of the image: {listed_in_full(clipped)}")
    return checked


def _check(example: Example) -> CheckedBoxes:
    if example.problem is not None or not isinstance(example.label, BoxLabel):
        return CheckedBoxes()
    try:
        return check_boxes(example.label, photo_size(example.input))
    except Unreadable as reason:
        return CheckedBoxes(problems=(str(reason),))


def check_boxes(label: BoxLabel, size: PhotoSize) -> CheckedBoxes:
    """Check the boxes of one photo.

    Boxes refer to the upright photo, after its EXIF orientation has been applied. A box that reaches over the
    edge by at most 2 pixels, or 2 % of the side, is clipped.

    Examples
    --------
    >>> label = BoxLabel((Box("stop", (90, 10, 140, 30), "a.csv line 2"),))
    >>> check_boxes(label, PhotoSize(100, 100)).problems
    ('a.csv line 2: the box reaches 40 px over the right edge of the image (100 x 100)',)
    """
    if problem := _size_problem(label, size):
        return CheckedBoxes(problems=(problem,))
    problems, removed, clipped = list(label.problems), [], []
    boxes: dict[tuple[str, tuple[float, ...]], Box] = {}
    for box in label.boxes:
        corners = _in_pixels(box.corners, size) if label.relative else box.corners
        if problem := _number_problem(corners, box.corners):
            problems.append(f"{box.where}: {problem}")
            continue
        if corners[0] == corners[2] or corners[1] == corners[3]:
            removed.append(f"{box.where}: the box has no area, {_sides(corners)}")
            continue
        if problem := next(_outside(corners, size), None):
            problems.append(f"{box.where}: {problem} of the image ({size.width} x {size.height})")
            continue
        within = _clip(corners, size)
        if within[0] >= within[2] or within[1] >= within[3]:
            removed.append(f"{box.where}: the box lies beyond the edge of the image")
            continue
        if any(abs(a - b) > 0.5 for a, b in zip(corners, within, strict=True)):
            clipped.append(box.where)
        kept = replace(box, corners=within)
        first = boxes.setdefault((box.label, within), kept)
        if first is not kept:
            removed.append(f"{box.where}: the same box as in {first.where}")
    upright = (size.width, size.height)
    return CheckedBoxes(tuple(boxes.values()), upright, tuple(problems), tuple(removed), tuple(clipped))


def _size_problem(label: BoxLabel, size: PhotoSize) -> str | None:
    """Whether the boxes refer to a photo of another size, or to the photo before it is turned upright."""
    upright, stored = (size.width, size.height), size.stored
    pixels = [] if label.relative else [box.corners for box in label.boxes]
    if size.turned and upright != stored and pixels and _is_stored(label.size, pixels, size):
        return (
            f"the boxes fit only the image as stored ({stored[0]} x {stored[1]}), before its EXIF "
            f"orientation is applied, but boxes refer to the upright image ({upright[0]} x {upright[1]}). "
            "Fix: turn the boxes, or remove the orientation from the file"
        )
    if label.size and pixels and label.size not in (upright, stored):
        stated = " x ".join(f"{side:g}" for side in label.size)
        return f"the boxes are for an image of {stated} pixels, but it has {upright[0]} x {upright[1]}"
    return None


def _is_stored(
    stated: tuple[float, float] | None, pixels: Sequence[tuple[float, ...]], size: PhotoSize
) -> bool:
    if stated:
        return stated == size.stored
    return _fit(pixels, size.stored) and not _fit(pixels, (size.width, size.height))


def _fit(corners: Sequence[tuple[float, ...]], size: tuple[int, int]) -> bool:
    return all(not any(_outside(four, PhotoSize(*size))) for four in corners)


def _in_pixels(corners: Sequence[float], size: PhotoSize) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = corners
    return x1 * size.width, y1 * size.height, x2 * size.width, y2 * size.height


def _number_problem(corners: Sequence[float], given: Sequence[float]) -> str | None:
    if not all(math.isfinite(value) and abs(value) <= _LARGEST for value in corners):
        return f"the corners {', '.join(f'{value:g}' for value in given)} are not finite pixels"
    if corners[0] > corners[2] or corners[1] > corners[3]:
        return f"the box is {_sides(corners)}: swapped corners or a negative size"
    return None


def _sides(corners: Sequence[float]) -> str:
    return f"{corners[2] - corners[0]:g} x {corners[3] - corners[1]:g} px"


def _outside(corners: Sequence[float], size: PhotoSize) -> Iterator[str]:
    """A clause for each edge that the box reaches over by more than what is clipped."""
    x1, y1, x2, y2 = corners
    over = (("left", -x1), ("top", -y1), ("right", x2 - size.width), ("bottom", y2 - size.height))
    for (edge, distance), side in zip(over, (size.width, size.height) * 2, strict=True):
        if distance > max(_OVERHANG, _OVERHANG_SHARE * side):
            yield f"the box reaches {distance:.4g} px over the {edge} edge"


def _clip(corners: Sequence[float], size: PhotoSize) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = corners
    return max(x1, 0.0), max(y1, 0.0), min(x2, float(size.width)), min(y2, float(size.height))
