"""RandAugment: a few operations of one magnitude, drawn evenly (Cubuk et al. 2020, section 3).

The operations and their ranges are those of AutoAugment's search space (Cubuk et al. 2019, table 6) without
the ones that change more than one image. Operations with a direction get a random sign.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import cos, radians, sin
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from transfer_core.recipe.augmentations import RandAugment

# (image of mode RGB, magnitude from -1 to 1) -> image.
Operation: TypeAlias = Callable[[Image.Image, float], Image.Image]

_LARGEST = 30
_DEGREES, _SHEAR, _ENHANCEMENT, _BITS = 30.0, 0.3, 0.9, 4
# Of the side.
_TRANSLATION = 0.45
_GREY = (128, 128, 128)


def rand_augment(image: Image.Image, options: RandAugment, rng: np.random.Generator) -> Image.Image:
    """Apply random operations to an image of mode RGB."""
    names = list(OPERATIONS)
    for number in rng.integers(len(names), size=options.operations).tolist():
        sign = 1 if rng.random() < 0.5 else -1
        image = OPERATIONS[names[number]](image, sign * options.magnitude / _LARGEST)
    return image


def _identity(image: Image.Image, _: float) -> Image.Image:
    return image


def _affine(image: Image.Image, matrix: tuple[float, float, float, float, float, float]) -> Image.Image:
    return image.transform(
        image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=_GREY
    )


def _rotate(image: Image.Image, magnitude: float) -> Image.Image:
    angle = radians(_DEGREES * magnitude)
    x, y, c, s = image.width / 2, image.height / 2, cos(angle), sin(angle)
    return _affine(image, (c, s, x - c * x - s * y, -s, c, y + s * x - c * y))


def _shear_x(image: Image.Image, magnitude: float) -> Image.Image:
    return _affine(image, (1, _SHEAR * magnitude, -_SHEAR * magnitude * image.height / 2, 0, 1, 0))


def _shear_y(image: Image.Image, magnitude: float) -> Image.Image:
    return _affine(image, (1, 0, 0, _SHEAR * magnitude, 1, -_SHEAR * magnitude * image.width / 2))


def _translate_x(image: Image.Image, magnitude: float) -> Image.Image:
    return _affine(image, (1, 0, round(_TRANSLATION * magnitude * image.width), 0, 1, 0))


def _translate_y(image: Image.Image, magnitude: float) -> Image.Image:
    return _affine(image, (1, 0, 0, 0, 1, round(_TRANSLATION * magnitude * image.height)))


def _enhance(kind: Callable[[Image.Image], ImageEnhance._Enhance]) -> Operation:
    return lambda image, magnitude: kind(image).enhance(1 + _ENHANCEMENT * magnitude)


def _posterize(image: Image.Image, magnitude: float) -> Image.Image:
    return ImageOps.posterize(image, 8 - round(_BITS * abs(magnitude)))


def _solarize(image: Image.Image, magnitude: float) -> Image.Image:
    return ImageOps.solarize(image, round(255 * (1 - abs(magnitude))))


OPERATIONS: Mapping[str, Operation] = {
    "identity": _identity,
    "rotate": _rotate,
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
    "brightness": _enhance(ImageEnhance.Brightness),
    "color": _enhance(ImageEnhance.Color),
    "contrast": _enhance(ImageEnhance.Contrast),
    "sharpness": _enhance(ImageEnhance.Sharpness),
    "posterize": _posterize,
    "solarize": _solarize,
    "auto_contrast": lambda image, _: ImageOps.autocontrast(image),
    "equalize": lambda image, _: ImageOps.equalize(image),
}
