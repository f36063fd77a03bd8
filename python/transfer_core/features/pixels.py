"""Preprocess image files for a backbone, identically in training and prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from transfer_core.backbones import Preprocessing
from transfer_core.data import decode_image
from transfer_core.features.augment import Box, augment, random_angle, random_crop
from transfer_core.features.rotate import rotated
from transfer_core.features.style import ViewChange

# Increment when the same file gives other pixels: stored features of older versions are then not found.
PIXELS_VERSION = 3

Pixels: TypeAlias = npt.NDArray[np.uint8]

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def load_pixels(input: str | bytes, preprocessing: Preprocessing, name: str | None = None) -> Pixels:
    """Return the center crop of an image as uint8 (H, W, 3), H = W = crop_size; errors call it `name`.

    One resize of the center box replaces the publishers' two steps (shorter side to resize_size, then the
    middle crop_size): it computes only pixels that are used.

    Raises
    ------
    DataError
        If the image can't be decoded.
    """
    return central_pixels(decode_image(input, at_least=preprocessing.resize_size, name=name), preprocessing)


def central_pixels(image: Image.Image, preprocessing: Preprocessing) -> Pixels:
    """Return the center crop of a decoded image, as `load_pixels` does."""
    return np.asarray(_resize(image, _centre_box(image, preprocessing), preprocessing))


def load_augmented_pixels(
    input: str | bytes,
    preprocessing: Preprocessing,
    augmentations: Sequence[ViewChange],
    rng: np.random.Generator,
) -> Pixels:
    """Return a random view of an image, uint8 (H, W, 3); raises as `load_pixels` does.

    Crop and rotation are part of the resize; other augmentations are applied to its result.
    """
    crop, degrees = random_crop(augmentations, rng), random_angle(augmentations, rng)
    at_least = crop.shorter_side(preprocessing.crop_size) if crop else preprocessing.resize_size
    image = decode_image(input, at_least)
    box = crop.box(*image.size) if crop else _centre_box(image, preprocessing)
    if degrees:
        resample = FILTERS[preprocessing.interpolation]
        seen = rotated(image, box, degrees, preprocessing.crop_size, resample)
    else:
        seen = _resize(image, box, preprocessing)
    return np.asarray(augment(seen, augmentations, rng))


def _centre_box(image: Image.Image, preprocessing: Preprocessing) -> Box:
    """Return the center box of `image`, aligned to the pixel grid of the publishers.

    They resize to whole pixels and crop at whole pixels: an offset of half a pixel changes fine detail by
    several of 255 levels.
    """
    widest, highest = image.size if preprocessing.squash else (min(image.size), min(image.size))
    left, right = _middle(image.width, widest, preprocessing)
    top, bottom = _middle(image.height, highest, preprocessing)
    return (left, top, right, bottom)


def _middle(length: int, unit: int, preprocessing: Preprocessing) -> tuple[float, float]:
    """Return the start and end of the middle `crop_size` pixels of a side, in pixels before the resize, which
    maps `unit` to `resize_size`."""
    resized = int(preprocessing.resize_size * length / unit)
    start = round((resized - preprocessing.crop_size) / 2)
    return start * length / resized, (start + preprocessing.crop_size) * length / resized


def _resize(image: Image.Image, box: Box, preprocessing: Preprocessing) -> Image.Image:
    size = (preprocessing.crop_size, preprocessing.crop_size)
    return image.resize(size, FILTERS[preprocessing.interpolation], box=box, reducing_gap=2.0)
