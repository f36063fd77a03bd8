"""Augmentations: random changes of training images."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta

from transfer_core.recipe.fields import Base, Probability


class Flip(Base, frozen=True, tag="flip"):
    """Mirror left to right."""

    probability: Probability = 0.5


class Crop(Base, frozen=True, tag="crop"):
    """A random crop of at least `min_scale` of the area, resized to the input size."""

    min_scale: Annotated[float, Meta(gt=0, le=1)] = 0.5


class Rotate(Base, frozen=True, tag="rotate"):
    """Rotate by a random angle between -`degrees` and +`degrees`."""

    degrees: Annotated[float, Meta(gt=0, le=180)] = 15.0


class Color(Base, frozen=True, tag="color"):
    """Change brightness, contrast and saturation by a factor within 1 ± `strength`."""

    strength: Annotated[float, Meta(gt=0, lt=1)] = 0.2


class Scale(Base, frozen=True, tag="scale"):
    """Detection: shrink by a random factor down to `min_scale`, and place at random."""

    min_scale: Annotated[float, Meta(gt=0, le=1)] = 0.5


class Mosaic(Base, frozen=True, tag="mosaic"):
    """Detection: with this probability, four images in one."""

    probability: Probability = 0.5


Augmentation: TypeAlias = Flip | Crop | Rotate | Color | Scale | Mosaic
