"""Mosaics: four images in one network input (Bochkovskiy et al. 2020, YOLOv4, section 3.3)."""

from __future__ import annotations

import numpy as np

from transfer_core.features.letterbox import Placement, Rectangle

# Sides of the part of an image that a cell shows, as a share of those of the largest possible part.
_LEAST_SHARE = 0.5


def mosaic_cells(image_size: int, rng: np.random.Generator) -> list[Rectangle]:
    """Four rectangles that cover the input and meet at a random point of its middle half."""
    x, y = (round(image_size * rng.uniform(0.25, 0.75)) for _ in range(2))
    right, below = image_size - x, image_size - y
    return [(0, 0, x, y), (x, 0, right, y), (0, y, x, below), (x, y, right, below)]


def fill_cell(
    size: tuple[float, float], cell: Rectangle, flipped: bool, rng: np.random.Generator
) -> Placement:
    """A random part of an image of this width and height, of the aspect ratio of the cell, which it fills."""
    width, height = size
    _, _, cell_width, cell_height = cell
    zoom = rng.uniform(_LEAST_SHARE, 1.0) * min(width / cell_width, height / cell_height)
    wide, high = cell_width * zoom, cell_height * zoom
    left, top = rng.random() * (width - wide), rng.random() * (height - high)
    return Placement((left, top, left + wide, top + high), cell, flipped)
