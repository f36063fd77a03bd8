"""Cosine head: similarity with the mean direction of each class (Qi, Brown & Lowe 2018, section 3.2)."""

from __future__ import annotations

import numpy as np

from transfer_core.heads.classic_problems import Check
from transfer_core.heads.head import FittedLayer, Head
from transfer_core.heads.prototype import SHARPNESS, class_means, mean_of_pairs
from transfer_core.heads.rows import Rows
from transfer_core.heads.scaling import parts_of
from transfer_core.recipe.heads import CosineHead
from transfer_core.tasks.criteria import Array

_LARGEST = 1e6
# Shortest length of a vector that is scaled to 1.
SHORTEST = 1e-12


class Cosine(FittedLayer):
    """Logits `scale` () times the cosine between features (N, D) and `weight` (K, D), of length 1."""

    numbers = ("weight", "scale")

    weight: Array
    scale: Array

    def check(self, width: int, outputs: int) -> None:
        """See `Head`."""
        self._check_shape("weight", outputs, width)
        self._check_shape("scale")
        if {self.weight.dtype, self.scale.dtype} != {np.dtype(np.float32)}:
            raise ValueError(f"{self.title}: expected 32-bit numbers")
        if not max(np.abs(self.weight).max(initial=0), np.abs(self.scale)) <= _LARGEST:
            raise ValueError(f"{self.title} has numbers beyond {_LARGEST:g}")

    def __call__(self, features: Array) -> Array:
        """See `Head`."""
        none = np.zeros((0, len(self.weight)), np.float32)
        return np.concatenate(
            [none, *(self.scale * (unit(part) @ self.weight.T) for part in parts_of(features))]
        )


def cosine(spec: CosineHead, rows: Rows, outputs: int, seed: int, check: Check) -> Head:
    """Fit the weights, the means of the features of length 1 of each class, scaled to length 1.

    The scale is 4 over the mean of 1 - cosine between two classes.
    """
    weight = unit(class_means(unit(rows.features), rows, outputs))
    scale = SHARPNESS / max(mean_of_pairs(1 - weight @ weight.T), 4 * SHARPNESS / _LARGEST)
    return Cosine(weight.astype(np.float32), np.array(scale, np.float32))


def unit(features: Array) -> Array:
    """Rows (N, D) scaled to length 1; zeros stay zeros."""
    lengths: Array = np.linalg.norm(features, axis=1, keepdims=True)
    scaled: Array = features / np.maximum(lengths, features.dtype.type(SHORTEST))
    return scaled
