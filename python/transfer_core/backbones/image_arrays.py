"""Batches of images as numpy arrays, for networks of other runtimes; no torch here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Run: TypeAlias = Callable[[Array], Array]


def as_levels(images: Array) -> Array:
    """Convert values 0..1 back to the pixels 0..255 that they were made from, uint8."""
    levels: Array = np.rint(images * 255).astype(np.uint8)
    return levels


def run_by(size: int, run: Run, images: Array) -> Array:
    """Run a network with a fixed batch size; the last batch is padded with copies.

    Parameters
    ----------
    size
        The batch size.
    run
        The network, (size, …) -> (size, D).
    images
        (N, …).

    Returns
    -------
    Array
        (N, D).
    """
    missing = -len(images) % size
    filled = np.concatenate([images, np.repeat(images[-1:], missing, axis=0)]) if missing else images
    parts = [run(filled[start : start + size]) for start in range(0, len(filled), size)]
    return np.concatenate(parts)[: len(images)]


def pooled(output: Array, channels_last: bool) -> Array:
    """Average an output to one row per image, (N, D) float32.

    Parameters
    ----------
    output
        A map (N, H, W, D) or, unless `channels_last`, (N, D, H, W); tokens (N, T, D); or rows (N, D).
    channels_last
        Layout of a map.
    """
    if output.ndim == 4:
        output = output.mean(axis=(1, 2) if channels_last else (2, 3))
    elif output.ndim == 3:
        output = output.mean(axis=1)
    return np.ascontiguousarray(output, dtype=np.float32)
