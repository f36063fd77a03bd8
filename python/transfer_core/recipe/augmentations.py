"""Augmentations: random changes of training images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias, TypeVar

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


class Blur(Base, frozen=True, tag="blur"):
    """Gaussian blur with a standard deviation of up to `radius` pixels of the input."""

    radius: Annotated[float, Meta(gt=0, le=50)] = 2.0


class Noise(Base, frozen=True, tag="noise"):
    """Add Gaussian noise with a standard deviation of up to `strength`, as a share of white."""

    strength: Annotated[float, Meta(gt=0, le=1)] = 0.05


class Jpeg(Base, frozen=True, tag="jpeg"):
    """Compress as JPEG with a quality between `min_quality` and 95."""

    min_quality: Annotated[int, Meta(ge=1, le=95)] = 30


class Grayscale(Base, frozen=True, tag="grayscale"):
    """Remove the colours."""

    probability: Probability = 0.2


class RandAugment(Base, frozen=True, tag="rand_augment"):
    """A number of `operations` drawn from 14, each with this `magnitude` of at most 30 (Cubuk et al. 2020,
    RandAugment)."""

    operations: Annotated[int, Meta(ge=1, le=20)] = 2
    magnitude: Annotated[int, Meta(ge=0, le=30)] = 9


class Style(Base, frozen=True, tag="style"):
    """Give an image the style of a random image of the target domain.

    `color` transfers mean and spread of the colours (Reinhard et al. 2001), `fourier` the amplitudes of the
    lowest frequencies (Yang and Soatto 2020, FDA) up to `band`, as a share of the side. The result is mixed
    with the image by `strength`.
    """

    method: Literal["color", "fourier"] = "color"
    strength: Annotated[float, Meta(gt=0, le=1)] = 1.0
    band: Annotated[float, Meta(gt=0, le=0.5)] = 0.01


class MixUp(Base, frozen=True, tag="mixup"):
    """Blend two images and their labels by a share from Beta(`alpha`, `alpha`) (Zhang et al. 2018)."""

    alpha: Annotated[float, Meta(gt=0, le=100)] = 0.2


class CutMix(Base, frozen=True, tag="cutmix"):
    """Paste a rectangle of another image, and mix the labels by its area, whose share of the rest is from
    Beta(`alpha`, `alpha`) (Yun et al. 2019)."""

    alpha: Annotated[float, Meta(gt=0, le=100)] = 1.0


Mixing: TypeAlias = MixUp | CutMix
# Change single pixels: what a photo shows stays where it is.
OfPixels: TypeAlias = Color | Blur | Noise | Jpeg | Grayscale
OfBoxes: TypeAlias = Scale | Mosaic
Augmentation: TypeAlias = Flip | Crop | Rotate | OfPixels | RandAugment | Style | Mixing | OfBoxes


T = TypeVar("T")


def of_one_image(augmentations: Sequence[T] | None) -> tuple[T, ...]:
    """The augmentations that need no second training image."""
    return tuple(one for one in augmentations or () if not isinstance(one, Mixing))
