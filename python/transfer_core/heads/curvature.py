"""How the loss of a linear layer bends, and variables in which it bends alike in all directions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

# As a share of the Gram matrix's trace: what single precision can't tell from 0.
ROUNDING = 1e-7


class Curvature(Protocol):
    """The mean over outputs of the loss's second derivative: `mean`, a number, with respect to their bias."""

    @property
    def mean(self) -> float:
        """See above."""

    def scaled_to(self, mean: float) -> Curvature:
        """The same shape, for a loss that bends as much as `mean` says."""

    def whitening(self, strength: float) -> Whitening:
        """Variables for this loss with an L2 penalty of that strength on the weights."""


class Whitening(Protocol):
    """Variables v (…, R + 1) for coefficients w (…, R + 1), the last of them a bias: v = w L, with L L' the
    curvature, so that the loss bends by about 1 in each direction of v."""

    def variables(self, coefficients: Tensor) -> Tensor:
        """W L."""

    def coefficients(self, variables: Tensor) -> Tensor:
        """V / L."""

    def slopes(self, gradient: Tensor) -> Tensor:
        """The gradient with respect to v of what has `gradient` with respect to w: G / L'."""


@dataclass(frozen=True)
class FullCurvature:
    """The second derivative with respect to the weights is `gram` (R, R)."""

    gram: Tensor
    mean: float

    def scaled_to(self, mean: float) -> FullCurvature:
        """See `Curvature`."""
        return FullCurvature(self.gram * (mean / self.mean), mean)

    def whitening(self, strength: float) -> TriangularWhitening:
        """See `Curvature`."""
        matrix = self.gram.clone()
        matrix.diagonal().add_(strength + ROUNDING * float(self.gram.trace()))
        return TriangularWhitening(torch.linalg.cholesky(matrix), self.mean**-0.5)


@dataclass(frozen=True)
class DiagonalCurvature:
    """The same where coordinates are uncorrelated: only its `diagonal` (R,)."""

    diagonal: Tensor
    mean: float

    def scaled_to(self, mean: float) -> DiagonalCurvature:
        """See `Curvature`."""
        return DiagonalCurvature(self.diagonal * (mean / self.mean), mean)

    def whitening(self, strength: float) -> DiagonalWhitening:
        """See `Curvature`."""
        bends = self.diagonal + strength + ROUNDING * float(self.diagonal.sum())
        return DiagonalWhitening(torch.cat([bends.rsqrt(), bends.new_tensor([self.mean**-0.5])]))


@dataclass(frozen=True)
class TriangularWhitening:
    """L is the Cholesky `factor` (R, R), of the bias 1 / `bias_unit`."""

    factor: Tensor
    bias_unit: float

    def variables(self, coefficients: Tensor) -> Tensor:
        """See `Whitening`."""
        weight, bias = coefficients[..., :-1], coefficients[..., -1:]
        return torch.cat([weight @ self.factor, bias / self.bias_unit], dim=-1)

    def coefficients(self, variables: Tensor) -> Tensor:
        """See `Whitening`."""
        return self._solved(self.factor, variables, upper=False)

    def slopes(self, gradient: Tensor) -> Tensor:
        """See `Whitening`."""
        return self._solved(self.factor.T, gradient, upper=True)

    def _solved(self, factor: Tensor, right: Tensor, upper: bool) -> Tensor:
        flat = right.reshape(-1, right.shape[-1])
        weight = torch.linalg.solve_triangular(factor, flat[:, :-1], upper=upper, left=False)
        return torch.cat([weight, flat[:, -1:] * self.bias_unit], dim=1).view(right.shape)


@dataclass(frozen=True)
class DiagonalWhitening:
    """L is diagonal, with 1 / `units` (R + 1,)."""

    units: Tensor

    def variables(self, coefficients: Tensor) -> Tensor:
        """See `Whitening`."""
        return coefficients / self.units

    def coefficients(self, variables: Tensor) -> Tensor:
        """See `Whitening`."""
        return variables * self.units

    def slopes(self, gradient: Tensor) -> Tensor:
        """See `Whitening`."""
        return gradient * self.units
