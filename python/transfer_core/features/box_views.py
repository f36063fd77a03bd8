"""Views of training images with boxes: the boxes follow every change of the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from transfer_core.backbones import Preprocessing
from transfer_core.data.boxes import Boxes
from transfer_core.data.decode import decode_sized
from transfer_core.features.augment import augment, random_crop
from transfer_core.features.last_decoded import Decoder
from transfer_core.features.letterbox import Corners, Placement, blank, fitted
from transfer_core.features.mosaic import fill_cell, mosaic_cells
from transfer_core.features.pixels import Pixels
from transfer_core.recipe.augmentations import Augmentation, Flip, Mosaic, OfPixels, Scale

Classes: TypeAlias = npt.NDArray[np.int64]

# An object of which less is visible is left out of a view.
_LEAST_VISIBLE = 0.3
# Sides in pixels of the input below which nothing of an object can be seen.
_LEAST_SIDE = 2.0

A = TypeVar("A")


@dataclass(frozen=True)
class Photo:
    """A labelled image: its path, its digest, and its boxes in pixels of the upright photo."""

    path: str
    digest: str
    boxes: Boxes


@dataclass(frozen=True)
class BoxView:
    """A view of one image, or a mosaic of four.

    Attributes
    ----------
    photos, placements
        The images, and where each is on the input.
    colours
        Changes of single pixels.
    seed
        Seed of these changes.
    """

    photos: tuple[Photo, ...]
    placements: tuple[Placement, ...]
    colours: tuple[Augmentation, ...] = ()
    seed: int = 0

    @property
    def key(self) -> str:
        """Identifies the view's pixels within one size of inputs."""
        digests = [photo.digest for photo in self.photos]
        return repr((digests, self.placements, self.colours, self.seed))

    @property
    def is_whole(self) -> bool:
        """Whether it shows the whole image, unchanged but for its size."""
        whole = (0.0, 0.0, *self.photos[0].boxes.size)
        one = len(self.photos) == 1 and not self.colours
        return one and self.placements[0].part == whole and not self.placements[0].flipped

    def objects(self) -> tuple[Corners, Classes]:
        """Corners (B, 4) and classes (B,) of the visible objects, in pixels of the input."""
        corners, classes = [np.zeros((0, 4))], [np.zeros(0, np.int64)]
        for photo, placement in zip(self.photos, self.placements, strict=True):
            objects = photo.boxes.objects
            seen, rows = visible(objects.corners, placement)
            corners.append(seen)
            classes.append(objects.classes[rows])
        return np.concatenate(corners), np.concatenate(classes)

    def load(self, image_size: int, preprocessing: Preprocessing, decoder: Decoder = decode_sized) -> Pixels:
        """Pixels (S, S, 3) uint8; raises `DataError` if an image can't be decoded."""
        canvas = blank(image_size, preprocessing)
        for photo, placement in zip(self.photos, self.placements, strict=True):
            left, top, right, bottom = placement.part
            # A cropped part needs more pixels of the image.
            zoom = max(photo.boxes.size) / max(right - left, bottom - top)
            image, size = decoder(photo.path, longer_at_least=int(np.ceil(image_size * zoom)))
            placement.paste(image, size, canvas, preprocessing)
        if self.colours:
            canvas = augment(canvas, self.colours, np.random.default_rng(self.seed))
        return np.asarray(canvas)


def unchanged_view(photo: Photo, image_size: int) -> BoxView:
    """The whole image, as the network sees it in a prediction."""
    return BoxView((photo,), (fitted(photo.boxes.size, image_size),))


def random_view(
    photo: Photo,
    others: Sequence[Photo],
    augmentations: Sequence[Augmentation],
    image_size: int,
    rng: np.random.Generator,
) -> BoxView:
    """A random view.

    Parameters
    ----------
    photo
        The image.
    others
        Three more images for a mosaic; may be empty.
    augmentations
        The changes.
    image_size
        Side of the view in pixels.
    rng
        Source of randomness.
    """
    mosaic, flip = _find(augmentations, Mosaic), _find(augmentations, Flip)
    photos = (photo, *others) if mosaic and others and rng.random() < mosaic.probability else (photo,)
    flips = (rng.random(len(photos)) < (flip.probability if flip else 0.0)).tolist()
    if len(photos) > 1:
        cells = mosaic_cells(image_size, rng)
        placements = [
            fill_cell(one.boxes.size, cell, flipped, rng)
            for one, cell, flipped in zip(photos, cells, flips, strict=True)
        ]
    else:
        placements = [_place(photo.boxes.size, augmentations, image_size, flips[0], rng)]
    colours = tuple(change for change in augmentations if isinstance(change, OfPixels))
    return BoxView(photos, tuple(placements), colours, int(rng.integers(2**32)))


def visible(corners: Corners, placement: Placement) -> tuple[Corners, npt.NDArray[np.int64]]:
    """The boxes that a placement shows, on the input and cut at the edges; and their rows."""
    mapped = placement.to_canvas(corners)
    x, y, width, height = placement.rectangle
    cut = np.clip(mapped, [x, y] * 2, [x + width, y + height] * 2)
    sides, whole = cut[:, 2:] - cut[:, :2], mapped[:, 2:] - mapped[:, :2]
    shown = sides.prod(axis=1) >= _LEAST_VISIBLE * whole.prod(axis=1)
    rows = np.flatnonzero(shown & (sides >= _LEAST_SIDE).all(axis=1))
    return cut[rows], rows


def _place(
    size: tuple[float, float],
    augmentations: Sequence[Augmentation],
    image_size: int,
    flipped: bool,
    rng: np.random.Generator,
) -> Placement:
    """A crop of an image, shrunk, at a random place of the input."""
    crop, scale = random_crop(augmentations, rng), _find(augmentations, Scale)
    left, top, right, bottom = crop.box(*size) if crop else (0.0, 0.0, *size)
    shrink = rng.uniform(scale.min_scale, 1.0) if scale else 1.0
    ratio = shrink * image_size / max(right - left, bottom - top)
    width, height = (max(1, round(side * ratio)) for side in (right - left, bottom - top))
    x, y = (int(rng.integers(image_size - side + 1)) if scale else 0 for side in (width, height))
    return Placement((left, top, right, bottom), (x, y, width, height), flipped)


def _find(augmentations: Sequence[Any], kind: type[A]) -> A | None:
    return next((change for change in augmentations if isinstance(change, kind)), None)
