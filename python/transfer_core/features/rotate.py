"""Rotate a crop of a photo without empty corners."""

from __future__ import annotations

from math import ceil, cos, radians, sin

import numpy as np
from PIL import Image

from transfer_core.features.augment import Box


def rotated(
    image: Image.Image, box: Box, degrees: float, size: int, resample: Image.Resampling
) -> Image.Image:
    """Resize the `box` of `image` to `size` x `size` pixels, rotated clockwise by `degrees`.

    Corners are filled from the photo beside the box and, beyond its border, by reflection, as in Keras and
    fastai. With black corners, as in torchvision, a network could detect the rotation.
    """
    margin = _margin(size, degrees)
    wide = _with_margin(image, box, margin, size, resample)
    middle = margin + size / 2
    c, s = cos(radians(degrees)), sin(radians(degrees))
    # From a pixel of the result to the pixel of `wide` that it shows, both counted from their corner.
    back = (c, s, middle - (c + s) * size / 2, -s, c, middle - (c - s) * size / 2)
    return wide.transform((size, size), Image.Transform.AFFINE, back, Image.Resampling.BILINEAR)


def _margin(size: int, degrees: float) -> int:
    """Pixels by which the corners of a rotated square exceed its sides, plus one for interpolation."""
    angle = radians(degrees)
    return ceil((abs(cos(angle)) + abs(sin(angle)) - 1) * size / 2) + 1


def _with_margin(
    image: Image.Image, box: Box, margin: int, size: int, resample: Image.Resampling
) -> Image.Image:
    """Resize the `box` to `size` x `size` pixels plus `margin` pixels on each side, at the same scale."""
    left, top, right, bottom = box
    before, after, left, right = _widened(left, right, image.width, size, margin)
    above, below, top, bottom = _widened(top, bottom, image.height, size, margin)
    seen = image.resize(
        (before + size + after, above + size + below),
        resample,
        box=(left, top, right, bottom),
        reducing_gap=2.0,
    )
    if before == after == above == below == margin:
        return seen
    lacking = ((margin - above, margin - below), (margin - before, margin - after), (0, 0))
    return Image.fromarray(np.pad(np.asarray(seen), lacking, mode="symmetric"))


def _widened(start: float, end: float, length: int, size: int, margin: int) -> tuple[int, int, float, float]:
    """Extend the interval from `start` to `end`, which becomes `size` pixels, by up to `margin` pixels on
    either side; return the pixels added before and after, and the new ends."""
    pixel = (end - start) / size
    before, after = min(margin, int(start / pixel)), min(margin, int((length - end) / pixel))
    # Rounding can move an end beyond the photo.
    return before, after, max(0.0, start - before * pixel), min(length, end + after * pixel)
