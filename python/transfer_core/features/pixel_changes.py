"""Augmentations of the pixels that the backbone sees, one function each.

A new one is a struct in `recipe.augmentations`, and a function with its entry in `CHANGES` here.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from transfer_core.features.rand_augment import rand_augment
from transfer_core.features.style import TargetStyle
from transfer_core.recipe.augmentations import Blur, Color, Flip, Grayscale, Jpeg, Noise, RandAugment

Rng: TypeAlias = np.random.Generator
# (image of mode RGB, options, random numbers) -> image of the same size.
Change: TypeAlias = Callable[[Image.Image, Any, Rng], Image.Image]

_BEST_QUALITY = 95


def _flip(image: Image.Image, options: Flip, rng: Rng) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < options.probability else image


def _color(image: Image.Image, options: Color, rng: Rng) -> Image.Image:
    for enhancer in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhancer(image).enhance(rng.uniform(1 - options.strength, 1 + options.strength))
    return image


def _blur(image: Image.Image, options: Blur, rng: Rng) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0, options.radius)))


def _noise(image: Image.Image, options: Noise, rng: Rng) -> Image.Image:
    pixels = np.asarray(image, np.float32)
    deviation = np.float32(255 * rng.uniform(0, options.strength))
    noisy = pixels + deviation * rng.standard_normal(pixels.shape, np.float32)
    return Image.fromarray(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))


def _jpeg(image: Image.Image, options: Jpeg, rng: Rng) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=int(rng.integers(options.min_quality, _BEST_QUALITY + 1)))
    return Image.open(file).convert("RGB")


def _grayscale(image: Image.Image, options: Grayscale, rng: Rng) -> Image.Image:
    return image.convert("L").convert("RGB") if rng.random() < options.probability else image


def _style(image: Image.Image, style: TargetStyle, rng: Rng) -> Image.Image:
    return style.applied(image, rng)


CHANGES: Mapping[type, Change] = {
    Flip: _flip,
    Color: _color,
    Blur: _blur,
    Noise: _noise,
    Jpeg: _jpeg,
    Grayscale: _grayscale,
    RandAugment: rand_augment,
    TargetStyle: _style,
}
