"""RISE: the score of an image under random masks (Petsiuk et al. 2018); it needs predictions alone."""

from __future__ import annotations

import numpy as np
from PIL import Image

from transfer_core.explain.case import Attribution, Case
from transfer_core.tasks.criteria import Array

# Masks, cells of a mask per side, the share of visible cells, and images in memory at a time.
MASKS, CELLS, VISIBLE, AT_ONCE = 500, 7, 0.5, 50


def randomly_masked_image(case: Case) -> Attribution:
    """The mean score where a place is visible, minus the mean score where it is hidden.

    Hidden places have the mean color of the image. The published map is the first mean alone; the difference
    has a sign, and is zero for an image whose score does not depend on its pixels.
    """
    pixels, scores, masks = case.loaded, [], []
    color = pixels.mean(axis=(0, 1))
    rng = np.random.default_rng(0)
    for start in range(0, MASKS, AT_ONCE):
        some = [_mask(rng, *pixels.shape[:2]) for _ in range(min(AT_ONCE, MASKS - start))]
        views = [(mask[..., None] * (pixels - color) + color).round().astype(np.uint8) for mask in some]
        scores.append(case.score(views))
        masks += some
    values, shown = np.concatenate(scores), np.stack(masks).astype(np.float64)
    visible = np.tensordot(values, shown, 1) / shown.sum(axis=0)
    hidden = np.tensordot(values, 1 - shown, 1) / (1 - shown).sum(axis=0)
    return Attribution(heatmap=visible - hidden)


def _mask(rng: np.random.Generator, height: int, width: int) -> Array:
    """(height, width) float32, 0 to 1: a random grid, enlarged smoothly and shifted by less than a cell."""
    grid = (rng.random((CELLS + 1, CELLS + 1)) < VISIBLE).astype(np.float32)
    high, wide = -(-height // CELLS), -(-width // CELLS)
    size = ((CELLS + 1) * wide, (CELLS + 1) * high)
    enlarged = np.asarray(Image.fromarray(grid).resize(size, Image.Resampling.BILINEAR))
    top, left = rng.integers(high), rng.integers(wide)
    found: Array = np.clip(enlarged[top : top + height, left : left + width], 0, 1)
    return found
