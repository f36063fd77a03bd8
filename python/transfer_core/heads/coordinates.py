"""Coordinates in which a linear head is fitted: scaled features, or an orthonormal basis of their span."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from transfer_core.heads.scaling import Scaling

# Up to so many rows per feature, a copy of the features is small and pays off.
FEW = 4


@dataclass(frozen=True)
class Coordinates:
    """Coordinates z = (x - shift) / unit of N rows.

    Attributes
    ----------
    x
        (N, R). With many rows the tensor of the caller, never copied: shift and unit are moved into the
        coefficients instead.
    shift, unit
        (R,)
    mean, scale
        (D,), of the features f: scaled features are (f - mean) / scale.
    basis
        (D, R), a column per coordinate; None if the coordinates are the scaled features.
    """

    x: Tensor
    shift: Tensor
    unit: Tensor
    mean: Tensor
    scale: Tensor
    basis: Tensor | None

    def on_features(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Convert `weight` (K, R) and `bias` (K,) for z to (K, D) and (K,) for features."""
        weight = weight.double()
        if self.basis is not None:
            weight = weight @ self.basis.double().T
        weight = weight / self.scale.double()
        return weight.float(), (bias.double() - weight @ self.mean.double()).float()


def coordinates_of(features: Tensor, scaling: Scaling) -> Coordinates:
    """Return R = min(N, D) coordinates of `features` (N, D) under `scaling`.

    With fewer rows than features, L2-penalized weights lie in the span of the rows, and the penalty is the
    same in any orthonormal basis of it. Z' = QR (Golub and Van Loan, Matrix Computations, 2013, section 5.2)
    gives one, and the square R' replaces the rows.

    With up to `FEW` times as many rows as features, the basis is the principal axes: the Hessian of the
    penalized loss is nearly diagonal in it, so that no system of R equations is solved per evaluation of the
    loss.
    """
    mean, scale = scaling
    rows, width = features.shape
    if rows > FEW * width:
        return Coordinates(features, mean, scale, mean, scale, basis=None)
    z = (features - mean) / scale
    basis = None
    if rows < width:
        basis, triangle = torch.linalg.qr(z.T)
        z = triangle.T
    _, axes = torch.linalg.eigh(z.T @ z)
    zero = features.new_zeros(axes.shape[1])
    basis = axes if basis is None else basis @ axes
    return Coordinates(z @ axes, zero, zero + 1, mean, scale, basis)
