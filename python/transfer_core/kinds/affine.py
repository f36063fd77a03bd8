"""Affine maps of features, which fold into the first dense layer of a head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from transfer_core.kinds.arrays import Floats, chunks


@dataclass(frozen=True)
class Affine:
    """The map (x - mean) @ matrix + offset, with `mean` (D,), `matrix` (D, R) and `offset` (R,)."""

    mean: Floats
    matrix: Floats
    offset: Floats

    def __call__(self, features: Floats) -> Floats:
        """Map features (N, D) to (N, R), in their type."""
        mean, matrix, offset = (part.astype(features.dtype) for part in (self.mean, self.matrix, self.offset))
        mapped = np.empty((len(features), matrix.shape[1]), features.dtype)
        for some in chunks(len(features)):
            np.matmul(features[some] - mean, matrix, out=mapped[some])
        mapped += offset
        return mapped

    @property
    def weight_and_bias(self) -> tuple[Floats, Floats]:
        """Weight (R, D) and bias (R,) of a dense layer that is this map."""
        weight = self.matrix.T
        return weight, self.offset - weight @ self.mean


@dataclass(frozen=True)
class Alignment:
    """Maps of both domains into a common space; None leaves the features unchanged."""

    source: Affine
    target: Affine | None = None
