"""Images of any size as the input of a graph."""

from __future__ import annotations

import numpy as np

from transfer_core.backbones import Preprocessing
from transfer_core.export.operators import Graph, Value
from transfer_core.export.resize import centre_pixels

IMAGE = "image"


def image_input(graph: Graph, preprocessing: Preprocessing) -> Value:
    """Declare the input `image`, and resize and crop it: (N, 3, S, S) float32, whole, from 0 to 255."""
    return centre_pixels(graph.input(IMAGE, np.uint8, ["N", "H", "W", 3]), preprocessing)


def normalized(pixels: Value, preprocessing: Preprocessing) -> Value:
    """(v / 255 - mean) / std of pixels (N, 3, S, S), float32."""
    mean, std = np.reshape(preprocessing.mean, (1, 3, 1, 1)), np.reshape(preprocessing.std, (1, 3, 1, 1))
    return pixels * np.asarray(1 / (255 * std)) + np.asarray(-mean / std)
