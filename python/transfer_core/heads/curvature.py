"""How the loss of a linear layer bends, and variables in which it bends alike in all directions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# As a share of the Gram matrix's trace: what single precision can't tell from 0.
ROUNDING = 1e-7


@dataclass(frozen=True)
class Curvature:
    """The mean over outputs of the loss's second derivative: `gram` (R, R) with respect to their weights,
    `mean`, a number, with respect to their bias."""

    gram: Tensor
    mean: float

    def scaled_to(self, mean: float) -> Curvature:
        """The same shape, for a loss that bends as much as `mean` says."""
        return Curvature(self.gram * (mean / self.mean), mean)

    def whitening(self, strength: float) -> Whitening:
        """Variables for this loss with an L2 penalty of that strength on the weights."""
        matrix = self.gram.clone()
        matrix.diagonal().add_(strength + ROUNDING * float(self.gram.trace()))
        return Whitening(torch.linalg.cholesky(matrix), self.mean**-0.5)


@dataclass(frozen=True)
class Whitening:
    """Variables v (…, R + 1) for coefficients w (…, R + 1), the last of them a bias: v = w L, with L L' the
    curvature, so that the loss bends by about 1 in each direction of v."""

    factor: Tensor
    bias_unit: float

    def variables(self, coefficients: Tensor) -> Tensor:
        """W L."""
        weight, bias = coefficients[..., :-1], coefficients[..., -1:]
        return torch.cat([weight @ self.factor, bias / self.bias_unit], dim=-1)

    def coefficients(self, variables: Tensor) -> Tensor:
        """V / L."""
        return self._solved(self.factor, variables, upper=False)

    def slopes(self, gradient: Tensor) -> Tensor:
        """The gradient with respect to v of what has `gradient` with respect to w: G / L'."""
        return self._solved(self.factor.T, gradient, upper=True)

    def _solved(self, factor: Tensor, right: Tensor, upper: bool) -> Tensor:
        flat = right.reshape(-1, right.shape[-1])
        weight = torch.linalg.solve_triangular(factor, flat[:, :-1], upper=upper, left=False)
        return torch.cat([weight, flat[:, -1:] * self.bias_unit], dim=1).view(right.shape)
