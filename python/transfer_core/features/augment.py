"""Random views of a training image.

Crop and angle are drawn first: the image is decoded no larger than they need, and resized once. The other
augmentations change the few pixels that the backbone sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from PIL import Image

from transfer_core.features.pixel_changes import CHANGES
from transfer_core.features.style import ViewChange
from transfer_core.recipe.augmentations import Crop, Rotate

Box: TypeAlias = tuple[float, float, float, float]


@dataclass(frozen=True)
class RandomCrop:
    """A random part of a photo of any size.

    Parameters
    ----------
    area
        Its share of the photo's area, 0..1.
    ratio
        Width over height.
    across, down
        Where it lies between left (0) and right (1), top (0) and bottom (1).
    """

    area: float
    ratio: float
    across: float
    down: float

    def box(self, width: float, height: float) -> Box:
        """Left, top, right and bottom in a photo of that size.

        Where it would stick out, it gets narrower or lower and keeps its area.
        """
        area = self.area * width * height
        w = min(width, (area * self.ratio) ** 0.5)
        h = min(height, area / w)
        w = min(width, area / h)
        left, top = self.across * (width - w), self.down * (height - h)
        return (left, top, left + w, top + h)

    def shorter_side(self, pixels: int) -> int:
        """How long a photo's shorter side must be for a crop of `pixels` by `pixels` or more."""
        return int(np.ceil(pixels / (self.area * min(self.ratio, 1 / self.ratio)) ** 0.5))


def random_crop(augmentations: Sequence[ViewChange], rng: np.random.Generator) -> RandomCrop | None:
    """A crop as `Crop` allows, or None if there is none among `augmentations`.

    Area and aspect ratio are drawn as in Szegedy et al. 2015 (Going deeper with convolutions, section 6):
    the area evenly between the smallest allowed and the whole, the ratio between 3/4 and 4/3.
    """
    crop = next((change for change in augmentations if isinstance(change, Crop)), None)
    if crop is None:
        return None
    area = rng.uniform(crop.min_scale, 1.0)
    ratio = float(np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3))))
    return RandomCrop(area, ratio, across=rng.random(), down=rng.random())


def random_angle(augmentations: Sequence[ViewChange], rng: np.random.Generator) -> float:
    """Degrees to turn by, clockwise; 0 if there is no `Rotate` among `augmentations`."""
    return sum(rng.uniform(-one.degrees, one.degrees) for one in augmentations if isinstance(one, Rotate))


def augment(image: Image.Image, augmentations: Sequence[ViewChange], rng: np.random.Generator) -> Image.Image:
    """Apply the pixel changes among `augmentations` to an image of mode RGB, in their order."""
    for augmentation in augmentations:
        if change := CHANGES.get(type(augmentation)):
            image = change(image, augmentation, rng)
    return image
