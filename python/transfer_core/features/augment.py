"""Random changes to a training photo that leave its label true."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageEnhance

from transfer_core.recipe import Augmentation, Color, Crop, Flip, Rotate

Box = tuple[float, float, float, float]


def augment(
    image: Image.Image, augmentations: Sequence[Augmentation], rng: np.random.Generator
) -> Image.Image:
    """`image` (RGB) after each of `augmentations` but `Crop`, which chooses the box to resize from."""
    for change in augmentations:
        if isinstance(change, Flip) and rng.random() < change.probability:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        elif isinstance(change, Rotate):
            image = _rotate(image, rng.uniform(-change.degrees, change.degrees))
        elif isinstance(change, Color):
            image = _color(image, change.strength, rng)
    return image


def crop_box(
    width: int, height: int, augmentations: Sequence[Augmentation], rng: np.random.Generator
) -> Box | None:
    """A random box of the image (left, top, right, bottom), or None if no `Crop` is asked for.

    Area and aspect ratio are drawn as in Szegedy et al. 2015 (Going deeper with convolutions, section 6):
    the area evenly between the smallest allowed and the whole, the ratio between 3/4 and 4/3. Where such a
    box would stick out, it gets narrower or lower and keeps its area.
    """
    crop = next((change for change in augmentations if isinstance(change, Crop)), None)
    if crop is None:
        return None
    area = rng.uniform(crop.min_scale, 1.0) * width * height
    ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
    w = min(width, float(np.sqrt(area * ratio)))
    h = min(height, area / w)
    w = min(width, area / h)
    left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
    return (left, top, left + w, top + h)


def _rotate(image: Image.Image, degrees: float) -> Image.Image:
    """Corners that come into view take the mean colour of the border, the least conspicuous one."""
    pixels = np.asarray(image)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    red, green, blue = (int(value) for value in border.mean(axis=0).round())
    return image.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=(red, green, blue))


def _color(image: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    for enhancer in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhancer(image).enhance(rng.uniform(1 - strength, 1 + strength))
    return image
