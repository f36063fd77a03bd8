"""Loss of a linear layer for several problems that differ in the weights of the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from transfer_core.heads.coordinates import Coordinates
from transfer_core.heads.lbfgs import minimize
from transfer_core.heads.rows import Rows
from transfer_core.tasks import Criterion

# Size of a chunk of rows whose features, or outputs for all problems, fit into the CPU cache.
CHUNK_BYTES = 4 * 2**20

# Rows per coordinate that suffice to estimate the diagonal of the Hessian.
ROWS_FOR_WHITENING = 8


@dataclass(frozen=True)
class LinearProblems:
    """B problems: minimize, over W (K, R + 1), whose last column is the bias,

        sum_n share_bn loss(W (z_n, 1), y_n) + strength / 2 |W without the bias|²

    with the loss of `criterion`, summed over outputs.

    `targets` (N,) or (N, K); `share` (B, N), each row adding up to 1. `label_weights` (N, K), 1 on average,
    are the weights of the labels of a row; None if all are equal. `check` is called for each chunk of rows
    and may raise.
    """

    at: Coordinates
    targets: Tensor
    outputs: int
    share: Tensor
    check: Callable[[], None]
    criterion: Criterion
    label_weights: Tensor | None = None

    def zeros(self) -> Tensor:
        """Return zero coefficients (B, K, R + 1), the default start."""
        return self.at.x.new_zeros(len(self.share), self.outputs, self.at.x.shape[1] + 1)

    def solve(self, strength: float, start: Tensor, tolerance: float) -> Tensor:
        """Return the minima (B, K, R + 1), found by preconditioned L-BFGS from `start` (B, K, R + 1)."""
        unit = self._whitening(strength, start.mean(dim=0))

        def objective(flat: Tensor) -> tuple[Tensor, Tensor]:
            coefficients = flat.view_as(start) * unit
            loss, gradient = self.loss(coefficients)
            weight = coefficients[..., :-1]
            loss += 0.5 * strength * weight.square().sum(dim=(1, 2))
            gradient[..., :-1] += strength * weight
            return loss, (gradient * unit).flatten(1)

        return minimize(objective, (start / unit).flatten(1), tolerance).view_as(start) * unit

    def loss(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """Return the losses (B,) without penalty, float64, and their gradients (B, K, R + 1)."""
        weight, bias = self._on_x(coefficients)
        loss = torch.zeros(len(coefficients), dtype=torch.float64)
        slope_x, slope_1 = torch.zeros_like(weight), torch.zeros_like(bias)
        for part in self._chunks(len(weight)):
            x, share = self.at.x[part], self.share[:, part]
            output = torch.addmm(bias[:, None], weight, x.T).view(len(share), self.outputs, -1)
            losses, slope = self.criterion.terms(output, self.targets[part], self._label_weights(part))
            loss += (losses * share).sum(dim=1, dtype=torch.float64)
            slope = slope.mul_(share[:, None]).flatten(0, 1)
            slope_x.addmm_(slope, x)
            slope_1 += slope.sum(dim=1)
        slope_z = (slope_x - slope_1[:, None] * self.at.shift) / self.at.unit
        return loss, torch.cat([slope_z, slope_1[:, None]], dim=1).view_as(coefficients)

    def output(self, coefficients: Tensor, rows: Tensor) -> Tensor:
        """Return the outputs (M, K) of one layer (K, R + 1) for the rows with these indices (M,)."""
        weight, bias = self._on_x(coefficients[None])
        parts = [torch.addmm(bias, self.at.x[some], weight.T) for some in self._split(rows)]
        return torch.cat(parts)

    def _whitening(self, strength: float, coefficients: Tensor) -> Tensor:
        """Return units (R + 1,) of variables in which the penalized loss has second derivatives of about 1.

        They come from the diagonal of the Hessian at one layer (K, R + 1), averaged over outputs and
        estimated on part of the rows.
        """
        step = -(-len(self.targets) // max(1, ROWS_FOR_WHITENING * self.at.x.shape[1]))
        rows = torch.arange(0, len(self.targets), step)
        share = self.share[:, rows].mean(dim=0)
        share = share / share.sum()
        total, diagonal = 0.0, torch.zeros_like(self.at.unit)
        for some, weights in zip(self._split(rows), self._split(share), strict=True):
            second = weights * self._second_derivative(coefficients, some)
            total += float(second.sum())
            diagonal += second @ ((self.at.x[some] - self.at.shift) / self.at.unit).square()
        eps = torch.finfo(diagonal.dtype).eps
        diagonal += strength + eps * float(diagonal.sum())
        return torch.cat([diagonal, diagonal.new_tensor([max(total, eps)])]).rsqrt()

    def _second_derivative(self, coefficients: Tensor, rows: Tensor) -> Tensor:
        return self.criterion.hessian(self.output(coefficients, rows), self._label_weights(rows))

    def _label_weights(self, rows: slice | Tensor) -> Tensor | None:
        return None if self.label_weights is None else self.label_weights[rows]

    def _on_x(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """Convert `coefficients` (B, K, R + 1) for z to weight (BK, R) and bias (BK,) for x."""
        flat = coefficients.flatten(0, 1)
        weight = flat[:, :-1] / self.at.unit
        return weight, flat[:, -1] - weight @ self.at.shift

    def _rows_at_once(self, outputs: int) -> int:
        row = self.at.x.element_size() * max(outputs, self.at.x.shape[1])
        return max(1, CHUNK_BYTES // row)

    def _chunks(self, outputs: int) -> Iterator[slice]:
        size = self._rows_at_once(outputs)
        for start in range(0, len(self.targets), size):
            self.check()
            yield slice(start, start + size)

    def _split(self, rows: Tensor) -> Iterator[Tensor]:
        for some in torch.split(rows, self._rows_at_once(self.outputs)):
            self.check()
            yield some


def linear_problems(
    rows: Rows, at: Coordinates, weights: Tensor, outputs: int, check: Callable[[], None]
) -> LinearProblems:
    """Return one problem per row of `weights` (B, N), in the coordinates `at`."""
    share = (weights / weights.sum(dim=1, keepdim=True)).to(at.x.dtype)
    label_weights = None
    if rows.weights.ndim == 2:
        label_weights = (rows.weights / rows.weights.mean()).to(at.x.dtype)
    return LinearProblems(at, rows.targets, outputs, share, check, rows.criterion, label_weights)
