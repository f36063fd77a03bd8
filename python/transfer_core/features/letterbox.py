"""Square network inputs for object detection: an image is resized to fit and keeps its aspect ratio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from transfer_core.backbones import Preprocessing
from transfer_core.data.decode import decode_sized
from transfer_core.features.augment import Box
from transfer_core.features.pixels import FILTERS, Pixels

Corners: TypeAlias = npt.NDArray[np.float64]
Rectangle: TypeAlias = tuple[int, int, int, int]

# Increase when the pixels of an input change.
LETTERBOX_VERSION = 1


@dataclass(frozen=True)
class Placement:
    """A part of an image, resized to a rectangle of a canvas.

    Attributes
    ----------
    part
        Left, top, right and bottom of the part in pixels of the image.
    rectangle
        Left, top, width and height in pixels of the canvas.
    flipped
        Whether the part is mirrored left to right.
    """

    part: Box
    rectangle: Rectangle
    flipped: bool = False

    def to_canvas(self, corners: Corners) -> Corners:
        """Map corners (B, 4) of boxes in the image to the canvas; those outside the part stay outside."""
        left, top, right, bottom = self.part
        x, y, width, height = self.rectangle
        scale = np.array([width / (right - left), height / (bottom - top)] * 2)
        mapped: Corners = (corners - np.array([left, top] * 2)) * scale
        if self.flipped:
            mapped = np.stack(
                [width - mapped[:, 2], mapped[:, 1], width - mapped[:, 0], mapped[:, 3]], axis=1
            )
        mapped += np.array([x, y] * 2)
        return mapped

    def to_image(self, corners: Corners) -> Corners:
        """Map corners (B, 4) on the canvas to the image; the inverse of `to_canvas` without a flip."""
        left, top, right, bottom = self.part
        x, y, width, height = self.rectangle
        scale = np.array([(right - left) / width, (bottom - top) / height] * 2)
        mapped: Corners = (corners - np.array([x, y] * 2)) * scale + np.array([left, top] * 2)
        return mapped

    def paste(
        self, image: Image.Image, size: tuple[int, int], canvas: Image.Image, preprocessing: Preprocessing
    ) -> None:
        """Resize the part and paste it into `canvas`.

        Parameters
        ----------
        image
            The image, possibly decoded smaller than its full size.
        size
            Width and height at full size, to which `part` refers.
        canvas
            An image of mode RGB.
        preprocessing
            The interpolation.
        """
        x, y, width, height = self.rectangle
        ratios = (image.width / size[0], image.height / size[1]) * 2
        left, top, right, bottom = (side * ratio for side, ratio in zip(self.part, ratios, strict=True))
        box = (left, top, min(right, image.width), min(bottom, image.height))
        resample = FILTERS[preprocessing.interpolation]
        seen = image.resize((width, height), resample, box=box, reducing_gap=2.0)
        if self.flipped:
            seen = seen.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        canvas.paste(seen, (x, y))


@dataclass(frozen=True)
class Letterboxed:
    """A network input made of a whole image.

    Attributes
    ----------
    pixels
        (S, S, 3) uint8.
    placement
        Where the image is on it: at the top left.
    size
        Width and height of the image in pixels.
    """

    pixels: Pixels
    placement: Placement
    size: tuple[int, int]


def fitted(size: tuple[float, float], image_size: int) -> Placement:
    """A whole image of this width and height at the top left of a canvas, as large as it fits."""
    width, height = size
    scale = image_size / max(width, height)
    resized = (max(1, round(width * scale)), max(1, round(height * scale)))
    return Placement((0.0, 0.0, float(width), float(height)), (0, 0, *resized))


def blank(image_size: int, preprocessing: Preprocessing) -> Image.Image:
    """A canvas in the colour that the network's normalization maps to zero."""
    colour = tuple(round(255 * min(1.0, max(0.0, value))) for value in preprocessing.mean)
    return Image.new("RGB", (image_size, image_size), colour)


def load_letterboxed(
    input: str | bytes, image_size: int, preprocessing: Preprocessing, name: str | None = None
) -> Letterboxed:
    """Load an image as a network input; raises `DataError` if it can't be decoded."""
    image, size = decode_sized(input, name=name, longer_at_least=image_size)
    return letterboxed(image, size, image_size, preprocessing)


def letterboxed(
    image: Image.Image, size: tuple[int, int], image_size: int, preprocessing: Preprocessing
) -> Letterboxed:
    """Make a network input of a decoded image, whose width and height at full size are `size`."""
    placement, canvas = fitted(size, image_size), blank(image_size, preprocessing)
    placement.paste(image, size, canvas, preprocessing)
    return Letterboxed(np.asarray(canvas), placement, size)
