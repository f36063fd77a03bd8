"""Batches of images as numpy arrays, for networks that are not torch's own; no torch here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Run: TypeAlias = Callable[[Array], Array]


def as_levels(images: Array) -> Array:
    """Values 0..1 as the levels 0..255 that they were made from, uint8."""
    levels: Array = np.rint(images * 255).astype(np.uint8)
    return levels


def run_by(size: int, run: Run, images: Array) -> Array:
    """`run` on images (N, …), exactly `size` at a time; the last ones are filled up with copies."""
    missing = -len(images) % size
    filled = np.concatenate([images, np.repeat(images[-1:], missing, axis=0)]) if missing else images
    parts = [run(filled[start : start + size]) for start in range(0, len(filled), size)]
    return np.concatenate(parts)[: len(images)]


def pooled(output: Array, channels_last: bool) -> Array:
    """One row per image, (N, D) float32: the average over places of an output (N, H, W, D) or, unless
    `channels_last`, (N, D, H, W); over tokens of (N, T, D)."""
    if output.ndim == 4:
        output = output.mean(axis=(1, 2) if channels_last else (2, 3))
    elif output.ndim == 3:
        output = output.mean(axis=1)
    return np.ascontiguousarray(output, dtype=np.float32)
