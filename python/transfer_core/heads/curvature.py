"""Hessian approximation and preconditioner for the linear head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

# Share of the Gram matrix's trace that single precision cannot distinguish from 0.
ROUNDING = 1e-7


class Curvature(Protocol):
    """Second derivative of the loss, averaged over outputs; `mean` is the one with respect to the bias."""

    @property
    def mean(self) -> float:
        """Second derivative with respect to the bias."""

    def scaled_to(self, mean: float) -> Curvature:
        """Return the curvature multiplied by a factor such that its mean is `mean`."""

    def whitening(self, strength: float) -> Whitening:
        """Return the preconditioner for the loss plus an L2 penalty of `strength` on the weights."""


class Whitening(Protocol):
    """Preconditioner: v = w L for coefficients w (…, R + 1), the last of them a bias.

    L L' is the curvature, so that the Hessian with respect to v is close to the identity.
    """

    def variables(self, coefficients: Tensor) -> Tensor:
        """Return v = w L."""

    def coefficients(self, variables: Tensor) -> Tensor:
        """Return w = v / L."""

    def slopes(self, gradient: Tensor) -> Tensor:
        """Return the gradient with respect to v for `gradient` with respect to w: g / L'."""


@dataclass(frozen=True)
class FullCurvature:
    """Full matrix `gram` (R, R) of second derivatives with respect to the weights."""

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
    """Curvature in uncorrelated coordinates: its `diagonal` (R,)."""

    diagonal: Tensor
    mean: float

    def scaled_to(self, mean: float) -> DiagonalCurvature:
        """See `Curvature`."""
        return DiagonalCurvature(self.diagonal * (mean / self.mean), mean)

    def whitening(self, strength: float) -> DiagonalWhitening:
        """See `Curvature`."""
        diagonal = self.diagonal + strength + ROUNDING * float(self.diagonal.sum())
        return DiagonalWhitening(torch.cat([diagonal.rsqrt(), diagonal.new_tensor([self.mean**-0.5])]))


@dataclass(frozen=True)
class TriangularWhitening:
    """L is the Cholesky `factor` (R, R) for the weights, 1 / `bias_unit` for the bias."""

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
    """L is diagonal: 1 / `units` (R + 1,)."""

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
