"""A part of a photo, resized and turned about its middle, without corners that show nothing."""

from __future__ import annotations

from math import ceil, cos, radians, sin

import numpy as np
from PIL import Image

from transfer_core.features.augment import Box


def rotated(
    image: Image.Image, box: Box, degrees: float, size: int, resample: Image.Resampling
) -> Image.Image:
    """The `box` of `image` as `size` x `size` pixels, turned clockwise by `degrees`.

    What comes into view beside the box is what the photo shows there, and beyond the photo's border its
    mirror image, as in Keras and fastai. From corners that torchvision leaves black, a network would learn
    that a photo was turned.
    """
    margin = _margin(size, degrees)
    wide = _with_margin(image, box, margin, size, resample)
    middle = margin + size / 2
    c, s = cos(radians(degrees)), sin(radians(degrees))
    # From a pixel of the result to the pixel of `wide` that it shows, both counted from their corner.
    back = (c, s, middle - (c + s) * size / 2, -s, c, middle - (c - s) * size / 2)
    return wide.transform((size, size), Image.Transform.AFFINE, back, Image.Resampling.BILINEAR)


def _margin(size: int, degrees: float) -> int:
    """How far the corners of a turned square stand out beyond its sides, and a pixel to interpolate with."""
    angle = radians(degrees)
    return ceil((abs(cos(angle)) + abs(sin(angle)) - 1) * size / 2) + 1


def _with_margin(
    image: Image.Image, box: Box, margin: int, size: int, resample: Image.Resampling
) -> Image.Image:
    """The `box` as `size` x `size` pixels, and `margin` pixels more on each side at the same scale."""
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
    """How many of `margin` pixels a side of the photo has before and after the box, and where they begin and
    end; `size` pixels reach from `start` to `end`."""
    pixel = (end - start) / size
    before, after = min(margin, int(start / pixel)), min(margin, int((length - end) / pixel))
    # A product may be a trifle larger than the quotient was.
    return before, after, max(0.0, start - before * pixel), min(length, end + after * pixel)
