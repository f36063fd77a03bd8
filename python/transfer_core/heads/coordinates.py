"""The coordinates in which a linear head is fitted: scaled features, as few as the rows need."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from transfer_core.heads.products import product
from transfer_core.heads.scaling import Scaling

# Of so many rows per feature a copy is small, and its making soon repaid.
FEW = 4


@dataclass(frozen=True)
class Coordinates:
    """The rows' coordinates are z = (x - shift) / unit, with `x` (N, R), `shift` (R,) and `unit` (R,).

    Of many rows `x` is the caller's own tensor, read and never copied: what is computed from z is computed
    from x by moving shift and unit into the coefficients.
    Features on their scale are (f - mean) / scale, with `mean` (D,) and `scale` (D,); `basis` (D, R) has a
    column per coordinate, or is None where those are the coordinates. `uncorrelated` ones have a diagonal
    Gram matrix.
    """

    x: Tensor
    shift: Tensor
    unit: Tensor
    mean: Tensor
    scale: Tensor
    basis: Tensor | None
    uncorrelated: bool = False

    def on_features(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Weight (K, D) and bias (K,) that do to features what `weight` (K, R) and `bias` do to z."""
        weight = weight.double()
        if self.basis is not None:
            weight = weight @ self.basis.double().T
        weight = weight / self.scale.double()
        return weight.float(), (bias.double() - weight @ self.mean.double()).float()


def coordinates_of(features: Tensor, scaling: Scaling) -> Coordinates:
    """The coordinates of `features` (N, D) on that scale: R = min(N, D).

    With fewer rows than features, weights have no part outside the span of the rows if an L2 penalty is on
    them, and the penalty is the same in any orthonormal basis of that span. Z' = QR (Golub and Van Loan,
    Matrix Computations, 2013, section 5.2) gives one, and R', a square, takes the place of the rows.

    With up to `FEW` times as many, the principal axes are the basis: there the penalised loss bends nearly
    independently along each, and no system of R equations is solved for each look at the loss.
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
    _, axes = torch.linalg.eigh(product(z.T, z))
    zero = features.new_zeros(axes.shape[1])
    basis = axes if basis is None else product(basis, axes)
    return Coordinates(product(z, axes), zero, zero + 1, mean, scale, basis, uncorrelated=True)
