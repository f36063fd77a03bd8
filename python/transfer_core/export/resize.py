"""Pillow's resize of a part of an image as standard operators, equal to the last bit.

`features.pixels` and `features.letterbox` are the reference: `Image.resize(…, box=box, reducing_gap=2)`.
Pillow reduces by whole factors, then applies a filter along one axis and along the other, each with weights
of 22 bits, and rounds to 8 bits after every step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from transfer_core.backbones import Preprocessing
from transfer_core.export.operators import Graph, Value

# Start and end along one axis in pixels, float64 (1,).
Box: TypeAlias = tuple[Value, Value]

# Pixels on each side of a sample that a filter takes, at scale 1.
_SUPPORT = {"bilinear": 1.0, "bicubic": 2.0}
_REDUCING_GAP = 2.0
# Pillow's weights are whole multiples of 2^-22; its reciprocals of the pixels in a reduced box, of 2^-24.
_WEIGHT_BITS, _RECIPROCAL_BITS = 22, 24
# Weights are split into multiples of 2^-14 and a rest: float32 holds the sums of each part exactly.
_COARSE_BITS = 14
# Filters have sums of at least 0.5 within an image.
_LEAST_SUM = 1e-3
# Neighbouring pixels of the result that are computed from one window: few, so that few weights are 0.
_BLOCK, _WIDE_BLOCK = 16, 56


class _Side(NamedTuple):
    """One axis. Pixels from `first` to `last` are used and reduced by `factor`, so that the image has
    `length` of them, and the first used one has the number `offset`; the box begins at `begin`, is `width`
    wide, and becomes `size` pixels of the result, int64 (1,)."""

    size: Value
    first: Value
    last: Value
    factor: Value
    length: Value
    offset: Value
    begin: Value
    width: Value


class _Filter(NamedTuple):
    """Blocks of neighbouring pixels of the result: `first` (blocks,) and all `indices` (blocks, window) of
    the pixels that each is computed from, and their `weights` (blocks, 2 block, window), coarse parts first.
    """

    first: Value
    indices: Value
    weights: Value
    blocks: int


def centre_pixels(images: Value, preprocessing: Preprocessing) -> Value:
    """Resize and crop.

    Parameters
    ----------
    images
        (N, H, W, 3) uint8.
    preprocessing
        Sizes and interpolation.

    Returns
    -------
    Value
        (N, 3, S, S) float32, whole numbers from 0 to 255; S = `crop_size`.
    """
    height, width = image_sides(images)
    shorter = height.apply("Min", width)
    boxes = [_box(side, side if preprocessing.squash else shorter, preprocessing) for side in (height, width)]
    size = images.graph.constant(np.array([preprocessing.crop_size]))
    return resized(images, boxes, (size, size), preprocessing.crop_size, preprocessing.interpolation)


def image_sides(images: Value) -> tuple[Value, Value]:
    """Height and width of images (N, H, W, 3), int64 (1,)."""
    shape = images.apply("Shape", dtype=np.int64)
    height, width = (
        shape.apply("Gather", images.graph.constant(np.array([axis])), axis=0) for axis in (1, 2)
    )
    return height, width


def resized(
    images: Value, boxes: Sequence[Box], sizes: tuple[Value, Value], canvas: int, interpolation: str
) -> Value:
    """Resize a box of each image to the top left of a square canvas.

    Parameters
    ----------
    images
        (N, H, W, 3) uint8.
    boxes
        Start and end in pixels of rows and of columns, float64 (1,).
    sizes
        Height and width of the result, int64 (1,), at most `canvas`.
    canvas
        S in pixels; beyond `sizes` its content is undefined.
    interpolation
        `bilinear` or `bicubic`.

    Returns
    -------
    Value
        (N, 3, S, S) float32, whole numbers from 0 to 255.
    """
    graph, sides = images.graph, image_sides(images)
    factors = [_factor(box, size) for box, size in zip(boxes, sizes, strict=True)]
    is_reduced = factors[0].apply("Max", factors[1]).apply("Greater", 1, dtype=bool)
    support = _SUPPORT[interpolation]
    rows, columns = (
        _side(*given, is_reduced, support) for given in zip(boxes, sizes, factors, sides, strict=True)
    )
    first, last = (getattr(rows, end).joined(getattr(columns, end), axis=0) for end in ("first", "last"))
    used = images.apply("Slice", first, last, graph.constant(np.array([1, 2])))
    planes = used.apply("Transpose", perm=[0, 3, 1, 2])
    planes = graph.either(
        is_reduced,
        lambda branch: _reduced(planes.inside(branch), rows, columns),
        lambda branch: planes.inside(branch).cast(np.float32),
    )
    across = _filter(planes, 3, columns, interpolation, canvas, _WIDE_BLOCK)
    down = _filter(planes, 2, rows, interpolation, canvas, _BLOCK)
    # Pillow's order, since version 13.
    more_rows, more_columns = rows.length - rows.size, columns.length - columns.size
    is_tall = more_rows.apply("Greater", (more_columns * 2).apply("Max", 0), dtype=bool)
    return graph.either(
        is_tall,
        lambda branch: _across(across, _down(down, planes.inside(branch), canvas), canvas),
        lambda branch: _down(down, _across(across, planes.inside(branch), canvas), canvas),
    )


def _box(length: Value, unit: Value, preprocessing: Preprocessing) -> Box:
    """Start and end of the centre in pixels, float64 (1,); see `features.pixels`."""
    resized = length * preprocessing.resize_size / unit
    margin = (resized - preprocessing.crop_size).cast(np.float64) * 0.5
    start = margin.apply("Round").cast(np.int64)
    begin, end = ((place * length).cast(np.float64) for place in (start, start + preprocessing.crop_size))
    return begin / resized.cast(np.float64), end / resized.cast(np.float64)


def _factor(box: Box, size: Value) -> Value:
    scale = (box[1] - box[0]) / size.cast(np.float64)
    return (scale / _REDUCING_GAP).cast(np.int64).apply("Max", 1)


def _side(box: Box, size: Value, factor: Value, length: Value, is_reduced: Value, support: float) -> _Side:
    begin, end = box
    scale = (end - begin) / size.cast(np.float64)
    # Without reduction, more pixels than the filter takes; with it, those of Pillow.
    enough = scale.apply("Max", 1.0) * support + 1.0
    margin = is_reduced.choose(scale * (support - 0.5), enough)
    first = (begin - margin).cast(np.int64).apply("Max", 0)
    last = (end + margin).apply("Ceil").cast(np.int64).apply("Min", length)
    reduced = (last - first + factor - 1) / factor
    # Pillow passes the box in float32.
    origin = is_reduced.choose(first, first * 0).cast(np.float64)
    inside = [((place - origin) / factor.cast(np.float64)).cast(np.float32) for place in (begin, end)]
    return _Side(
        size,
        first,
        last,
        factor,
        is_reduced.choose(reduced, length),
        is_reduced.choose(first * 0, first),
        inside[0].cast(np.float64),
        (inside[1] - inside[0]).cast(np.float64),
    )


def _reduced(planes: Value, rows: _Side, columns: _Side) -> Value:
    """Means of boxes of pixels, rounded as by `Image.reduce`; those at the end may be smaller."""
    graph = planes.graph
    counts, pads, shape = [], [graph.constant(np.zeros(6, np.int64))], [graph.constant(np.array([0, 3]))]
    for side in (rows, columns):
        factor, length = side.factor.inside(graph), (side.last - side.first).inside(graph)
        boxes = side.length.inside(graph)
        pads.append(boxes * factor - length)
        shape += [boxes, factor]
        counts.append((-(_range(boxes, np.int64) * factor) + length).apply("Min", factor))
    padded = planes.apply("Pad", pads[0].joined(*pads[1:], axis=0)).cast(np.float32)
    boxed = padded.apply("Reshape", shape[0].joined(*shape[1:], axis=0))
    total = boxed.sum(5).sum(3).cast(np.int64)  # of (N, 3, h, factor, w, factor)
    count = counts[0].reshape(-1, 1) * counts[1]
    reciprocal = graph.constant(np.array(1 << _RECIPROCAL_BITS)) / count
    return ((total + count / 2) * reciprocal / (1 << _RECIPROCAL_BITS)).cast(np.float32)


def _filter(planes: Value, axis: int, side: _Side, interpolation: str, canvas: int, block: int) -> _Filter:
    """The filter of an axis, for blocks of so many pixels of the result."""
    graph, support = planes.graph, _SUPPORT[interpolation]
    length = planes.apply("Shape", dtype=np.int64, start=axis, end=axis + 1)
    blocks = -(-canvas // block)
    scale = side.width / side.size.cast(np.float64)
    stretch = scale.apply("Max", 1.0)
    window = (scale * block + stretch * (2 * support)).apply("Ceil").cast(np.int64) + 2
    window = window.apply("Min", length)
    begins = graph.constant(np.arange(blocks).reshape(-1, 1) * float(block)) * scale + side.begin
    first = (begins - stretch * support).apply("Floor").cast(np.int64) - side.offset
    first = first.apply("Min", length - window).apply("Max", 0)
    indices = first + _range(window, np.int64)
    taken = (indices + side.offset).cast(np.float64).apply("Unsqueeze", graph.constant(np.array([1])))
    places = graph.constant((np.arange(blocks * block) + 0.5).reshape(blocks, block, 1))
    # In Pillow's order, so that rounding is the same.
    centre = places * scale + side.begin
    distance = (taken - centre + 0.5) * (graph.constant(1.0) / stretch)
    filtered = _FILTERS[interpolation](distance.apply("Abs"))
    # Beyond the image, where a canvas is larger than the result, all weights are 0.
    share = graph.constant(1.0) / filtered.sum(2, keepdims=True).apply("Max", _LEAST_SUM)
    scaled = filtered * share * 2.0**_WEIGHT_BITS
    # Half away from zero, as in Pillow; the operator Round rounds half to even.
    weights = (scaled.apply("Abs") + 0.5).apply("Floor") * scaled.apply("Sign") * 2.0**-_WEIGHT_BITS
    coarse = (weights * 2.0**_COARSE_BITS).apply("Floor") * 2.0**-_COARSE_BITS
    parts = coarse.cast(np.float32).joined((weights - coarse).cast(np.float32), axis=1)
    return _Filter(first.reshape(-1), indices, parts, blocks)


def _down(filter: _Filter, planes: Value, size: int) -> Value:
    """Filter columns: (N, 3, length, M) -> (N, 3, S, M)."""
    graph = planes.graph
    others = planes.apply("Shape", dtype=np.int64, start=3, end=4)
    taken = planes.apply("Gather", filter.indices.inside(graph), axis=2)
    both = filter.weights.inside(graph) @ taken  # (N, 3, blocks, 2 block, M)
    coarse, rest = _halves(both, 3, _BLOCK)
    shape = graph.constant(np.array([0, 0, -1])).joined(others, axis=0)
    return _cut(_levels(coarse, rest).apply("Reshape", shape), 2, size)


def _across(filter: _Filter, planes: Value, size: int) -> Value:
    """Filter rows: (N, 3, M, length) -> (N, 3, M, S)."""
    graph = planes.graph
    weights = filter.weights.inside(graph).apply("Transpose", perm=[0, 2, 1])
    # Copies of windows; picking single pixels would take longer than the sums.
    first = filter.first.inside(graph)
    window = filter.indices.inside(graph).apply("Shape", start=1, end=2)
    parts: tuple[list[Value], list[Value]] = ([], [])
    for block in range(filter.blocks):
        begin = first.apply("Gather", graph.constant(np.array([block])), axis=0)
        taken = planes.apply("Slice", begin, begin + window, graph.constant(np.array([3])))
        both = taken @ weights.apply("Gather", graph.constant(np.array(block)), axis=0)
        for known, part in zip(parts, _halves(both, 3, _WIDE_BLOCK), strict=True):
            known.append(part)
    return _cut(_levels(*(part[0].joined(*part[1:], axis=3) for part in parts)), 3, size)


def _levels(coarse: Value, rest: Value) -> Value:
    """Round the sum half up and clip it to 8 bits; float32 holds each term exactly."""
    whole = coarse.apply("Floor")
    rounded = whole + ((coarse - whole) + (rest + 0.5)).apply("Floor")
    return rounded.apply("Clip", 0.0, 255.0)


def _halves(both: Value, axis: int, block: int) -> list[Value]:
    sizes = both.graph.constant(np.array([block, block]))
    return both.graph.add("Split", [both, sizes], (both.dtype, both.dtype), axis=axis)


def _cut(planes: Value, axis: int, size: int) -> Value:
    """Drop pixels of the last block that are not in the result."""
    ends = (planes.graph.constant(np.array([number])) for number in (0, size, axis))
    return planes.apply("Slice", *ends)


def _bilinear(x: Value) -> Value:
    return (-x + 1.0).apply("Max", 0.0)


def _bicubic(x: Value) -> Value:
    """Keys' kernel with a = -0.5."""
    near = (x * 1.5 - 2.5) * x * x + 1.0
    far = ((x - 5.0) * x + 8.0) * x - 4.0
    is_near, is_far = (x.apply("Less", limit, dtype=bool) for limit in (1.0, 2.0))
    beyond = is_far.choose(far * -0.5, x * 0.0)
    return is_near.choose(near, beyond)


_FILTERS: dict[str, Callable[[Value], Value]] = {"bilinear": _bilinear, "bicubic": _bicubic}


def _range(length: Value, dtype: type) -> Value:
    """0, 1, … below `length` (1,)."""
    graph: Graph = length.graph
    stop = length.apply("Squeeze").cast(dtype)
    limits = [graph.constant(np.array(0, dtype)), stop, graph.constant(np.array(1, dtype))]
    (numbers,) = graph.add("Range", limits, (dtype,))
    return numbers
