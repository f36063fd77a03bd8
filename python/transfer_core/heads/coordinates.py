"""Coordinates in which a linear head is fitted: scaled features, or principal axes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from transfer_core.heads.scaling import Scaling
from transfer_core.tasks.criteria import Array

# Up to so many rows per feature, a copy of the features is small and pays off.
FEW = 4


@dataclass(frozen=True)
class Coordinates:
    """Coordinates z = ((f - mean) / scale) basis of N rows of features f.

    Attributes
    ----------
    x
        (N, R) coordinates if `is_copy`; otherwise (N, D), the features of the caller: mean, scale and basis
        are moved into the coefficients then. They may be `ShardedFeatures`.
    mean, scale
        (D,)
    basis
        (D, R), a column per coordinate; None if the coordinates are the scaled features.
    """

    x: Any
    is_copy: bool
    mean: Array
    scale: Array
    basis: Array | None

    @property
    def count(self) -> int:
        """R, the number of coordinates."""
        return len(self.mean) if self.basis is None else self.basis.shape[1]

    def on_features(self, weight: Array, bias: Array) -> tuple[Array, Array]:
        """Convert `weight` (K, R) and `bias` (K,) for z to (K, D) and (K,) for features."""
        basis = None if self.basis is None else self.basis.astype(np.float64)
        weight = weight.astype(np.float64)
        weight = (weight if basis is None else weight @ basis.T) / self.scale
        return weight.astype(np.float32), (bias - weight @ self.mean).astype(np.float32)

    def on_x(self, weight: Array, bias: Array) -> tuple[Array, Array]:
        """Convert `weight` (K, R) and `bias` (K,) for z to those for x."""
        if self.is_copy:
            return weight, bias
        weight = (weight if self.basis is None else weight @ self.basis.T) / self.scale
        return weight, bias - weight @ self.mean

    def on_z(self, slope_x: Array, slope_1: Array) -> Array:
        """Convert the gradient by the weights for x, and by the biases (K,), to that by the weights for z."""
        if self.is_copy:
            return slope_x
        slope_z: Array = (slope_x - slope_1[:, None] * self.mean) / self.scale
        return slope_z if self.basis is None else slope_z @ self.basis

    def rows(self, indices: Array | slice) -> Array:
        """Return coordinates (M, R) of the rows at `indices`."""
        z: Array = self.x[indices]
        if self.is_copy:
            return z
        z = (z - self.mean) / self.scale
        return z if self.basis is None else z @ self.basis


def coordinates_of(features: Array, scaling: Scaling, outputs: int = 1) -> Coordinates:
    """Return R = min(N, D) coordinates of `features` (N, D) under `scaling`, for a number of outputs.

    With fewer rows than features, L2-penalized weights lie in the span of the rows, and the penalty is the
    same in any orthonormal basis of it. Z' = QR (Golub and Van Loan, Matrix Computations, 2013, section 5.2)
    gives one, and the square R' replaces the rows.

    The basis is the principal axes, in which the Hessian of the penalized loss is nearly diagonal, so that no
    system of R equations is solved per evaluation of the loss. With more than `FEW` times as many rows as
    features, the axes are those of part of the rows, and they are used only if they cost less than a few
    evaluations.
    """
    mean, scale = scaling
    rows, width = features.shape
    if rows > FEW * width:
        if outputs * rows < width**2:
            return Coordinates(features, False, mean, scale, None)
        part = (features[:: rows // (FEW * width)] - mean) / scale
        return Coordinates(features, False, mean, scale, _axes(part))
    z = (features[:] - mean) / scale
    if rows >= width:
        axes = basis = _axes(z)
    else:
        span, triangle = np.linalg.qr(z.T)
        z = triangle.T
        axes = _axes(z)
        basis = span @ axes
    return Coordinates(z @ axes, True, mean, scale, basis)


def _axes(z: Array) -> Array:
    """Return the principal axes (R, R) of centred rows (N, R)."""
    axes: Array = np.linalg.eigh(z.T @ z)[1]
    return axes
