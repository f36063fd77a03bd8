"""The loss of a linear layer, for several problems that differ in how much each row counts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from transfer_core.heads.axes import Axes
from transfer_core.heads.lbfgs import minimize
from transfer_core.heads.rows import Rows

CHUNK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class LinearProblems:
    """B problems: minimise, over W (K, D), whose last column is the bias,

        sum_n share_bn loss(W z_n, y_n) + strength / 2 |W without the bias|²

    with cross-entropy, or half the squared error summed over outputs, as the loss.

    `z` (N, D), its last column 1; `variance` (D,), the mean square of each column; `truth` (N, K),
    classes one-hot; `share` (B, N), each row adding up to 1.
    """

    z: Tensor
    variance: Tensor
    truth: Tensor
    share: Tensor
    is_classification: bool

    def zeros(self) -> Tensor:
        """Where to start without a better idea, (B, K, D)."""
        return self.z.new_zeros(len(self.share), self.truth.shape[1], self.z.shape[1])

    def solve(self, strength: float, start: Tensor, curvature: float, tolerance: float) -> Tensor:
        """The minima (B, K, D), from `start` (B, K, D).

        `curvature` is a guess of the loss's second derivative with respect to an output. Each axis is
        measured in units of one over the root of its curvature, so that all bend alike: the columns of `z`
        being uncorrelated, that leaves little for L-BFGS to learn.
        """
        penalty = torch.full_like(self.variance, strength)
        penalty[-1] = 0
        unit = (curvature * self.variance + penalty).rsqrt()

        def objective(x: Tensor) -> tuple[Tensor, Tensor]:
            coefficients = x.view_as(start) * unit
            loss, gradient = self._loss(coefficients)
            loss = loss + 0.5 * (penalty * coefficients.square()).sum(dim=(1, 2))
            gradient = (gradient + penalty * coefficients) * unit
            return loss, gradient.flatten(1)

        return minimize(objective, (start / unit).flatten(1), tolerance).view_as(start) * unit

    def _loss(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """The losses (B,) without penalty, and their gradients (B, D, K), chunk by chunk of rows."""
        problems, outputs, width = coefficients.shape
        flat = coefficients.reshape(-1, width)
        terms = _cross_entropy_terms if self.is_classification else _squared_error_terms
        loss, gradient = torch.zeros_like(flat[:problems, 0]), torch.zeros_like(flat)
        chunk = max(1, CHUNK_BYTES // (flat.element_size() * len(flat)))
        parts = zip(*(torch.split(t, chunk) for t in (self.z, self.truth, self.share.T)), strict=True)
        for z, truth, share in parts:
            output = (z @ flat.T).view(-1, problems, outputs)
            losses, slope = terms(output, truth[:, None])
            loss += (losses * share).sum(dim=0)
            gradient += (slope * share[..., None]).flatten(1).T @ z
        return loss, gradient.view_as(coefficients)


def linear_problems(
    rows: Rows, axes: Axes, weights: Tensor, outputs: int, dtype: torch.dtype
) -> LinearProblems:
    """One problem for each row of `weights` (B, N), along `axes`."""
    z = rows.features.to(dtype) @ axes.basis.to(dtype)
    one = torch.ones(1, dtype=dtype)
    truth = one_hot(rows.targets, outputs) if rows.is_classification else rows.targets
    return LinearProblems(
        z=torch.cat([z, one.expand(len(z), 1)], dim=1),
        variance=torch.cat([axes.variance.to(dtype), one]),
        truth=truth.to(dtype),
        share=(weights / weights.sum(dim=1, keepdim=True)).to(dtype),
        is_classification=rows.is_classification,
    )


def _cross_entropy_terms(output: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Losses (n, B) and their slopes (n, B, K) for logits (n, B, K) and one-hot truth (n, 1, K)."""
    log_probability = output.log_softmax(dim=2)
    return -(log_probability * truth).sum(dim=2), log_probability.exp() - truth


def _squared_error_terms(output: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    error = output - truth
    return 0.5 * error.square().sum(dim=2), error
