"""Loss of a linear layer for several problems that differ in the weights of the rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from transfer_core.heads.coordinates import Coordinates
from transfer_core.heads.lbfgs import minimize
from transfer_core.heads.rows import Rows
from transfer_core.heads.shards import ShardedFeatures
from transfer_core.runtime.parallel import map_on_cores
from transfer_core.tasks.criteria import Array, Criterion

# Size of a chunk of rows whose features, or outputs for all problems, fit into the CPU cache.
CHUNK_BYTES = 4 * 2**20

# Rows per coordinate that suffice to estimate the diagonal of the Hessian.
ROWS_FOR_WHITENING = 8

# Evaluations of the loss in a fit.
USUAL_EVALUATIONS = 20


class Problems(ABC):
    """B problems over all rows; see `LinearProblems`, which has them in one array."""

    at: Coordinates
    targets: Array
    outputs: int
    share: Array
    criterion: Criterion

    def zeros(self) -> Array:
        """Return zero coefficients (B, K, R + 1), the default start."""
        return np.zeros((len(self.share), self.outputs, self.at.count + 1), self.at.x.dtype)

    @property
    @abstractmethod
    def checks(self) -> int:
        """Expected number of calls of `check` in a fit."""

    def solve(self, strength: float, start: Array, tolerance: float) -> Array:
        """Return the minima (B, K, R + 1), found by preconditioned L-BFGS from `start` (B, K, R + 1)."""
        unit = self._whitening(strength, start.mean(axis=0))

        def objective(flat: Array) -> tuple[Array, Array]:
            coefficients = flat.reshape(start.shape) * unit
            loss, gradient = self.loss(coefficients)
            weight = coefficients[..., :-1]
            loss += 0.5 * strength * np.square(weight).sum(axis=(1, 2), dtype=np.float64)
            gradient[..., :-1] += strength * weight
            return loss, (gradient * unit).reshape(len(start), -1)

        flat = (start / unit).reshape(len(start), -1)
        return minimize(objective, flat, tolerance).reshape(start.shape) * unit

    @abstractmethod
    def loss(self, coefficients: Array) -> tuple[Array, Array]:
        """Return the losses (B,) without penalty, float64, and their gradients (B, K, R + 1)."""

    @abstractmethod
    def output(self, coefficients: Array, rows: Array) -> Array:
        """Return the outputs (M, K) of one layer (K, R + 1) for the rows with these indices (M,)."""

    @abstractmethod
    def curvature(self, coefficients: Array, rows: Array, share: Array) -> tuple[Array, np.floating[Any]]:
        """Return the diagonal (R,) of the Hessian by the weights of one layer (K, R + 1), and the second
        derivative by the bias, both averaged over outputs, of the rows (M,) with these shares (M,)."""

    def _whitening(self, strength: float, coefficients: Array) -> Array:
        """Return units (R + 1,) of variables in which the penalized loss has second derivatives of about 1.

        They come from the diagonal of the Hessian at one layer (K, R + 1), averaged over outputs and
        estimated on part of the rows.
        """
        step = -(-len(self.targets) // max(1, ROWS_FOR_WHITENING * self.at.count))
        rows = np.arange(0, len(self.targets), step)
        share = self.share[:, rows].mean(axis=0)
        diagonal, of_bias = self.curvature(coefficients, rows, share / share.sum())
        eps = np.finfo(diagonal.dtype).eps
        diagonal = diagonal + (strength + eps * diagonal.sum())
        units: Array = 1 / np.sqrt(np.append(diagonal, max(of_bias, eps)))
        return units


@dataclass(frozen=True)
class LinearProblems(Problems):
    """B problems: minimize, over W (K, R + 1), whose last column is the bias,

        sum_n share_bn loss(W (z_n, 1), y_n) + strength / 2 |W without the bias|²

    with the loss of `criterion`, summed over outputs.

    `targets` (N,) or (N, K); `share` (B, N), each row adding up to 1. `label_weights` (N, K), 1 on average,
    are the weights of the labels of a row; None if all are equal. `check` is called for each chunk of rows
    and may raise.
    """

    at: Coordinates
    targets: Array
    outputs: int
    share: Array
    check: Callable[[], None]
    criterion: Criterion
    label_weights: Array | None = None

    @property
    def checks(self) -> int:
        """See `Problems`."""
        return USUAL_EVALUATIONS * len(list(self._chunks(len(self.targets), len(self.share) * self.outputs)))

    def loss(self, coefficients: Array) -> tuple[Array, Array]:
        """See `Problems.loss`."""
        problems, _, columns = coefficients.shape
        flat = coefficients.reshape(-1, columns)
        weight, bias = self.at.on_x(flat[:, :-1], flat[:, -1])

        def part(rows: slice) -> tuple[Array, Array, Array]:
            x, share = self.at.x[rows], self.share[:, rows]
            output = weight @ x.T
            output += bias[:, None]
            output = output.reshape(problems, self.outputs, -1)
            losses, slope = self.criterion.terms(output, self.targets[rows], self._label_weights(rows))
            slope *= share[:, None]
            slope = slope.reshape(len(flat), -1)
            return (losses * share).sum(axis=1, dtype=np.float64), slope @ x, slope.sum(axis=1)

        loss, slope_x, slope_1 = np.zeros(problems), np.zeros_like(weight), np.zeros_like(bias)
        for of_part in map_on_cores(part, list(self._chunks(len(self.targets), len(flat)))):
            self.check()
            for total, share in zip((loss, slope_x, slope_1), of_part, strict=True):
                total += share
        gradient = np.concatenate([self.at.on_z(slope_x, slope_1), slope_1[:, None]], axis=1)
        return loss, gradient.reshape(coefficients.shape)

    def output(self, coefficients: Array, rows: Array) -> Array:
        """See `Problems.output`."""
        weight, bias = self.at.on_x(coefficients[:, :-1], coefficients[:, -1])
        chunks = [rows[chunk] for chunk in self._chunks(len(rows), self.outputs)]
        if not chunks:  # a shard without any of the rows
            return np.empty((0, len(weight)), self.at.x.dtype)
        return np.concatenate(list(map_on_cores(lambda some: self.at.x[some] @ weight.T + bias, chunks)))

    def curvature(self, coefficients: Array, rows: Array, share: Array) -> tuple[Array, np.floating[Any]]:
        """See `Problems.curvature`."""
        second = share * self.criterion.hessian(self.output(coefficients, rows), self._label_weights(rows))
        diagonal = np.zeros(self.at.count, self.at.x.dtype)
        for chunk in self._chunks(len(rows), self.outputs):
            self.check()
            diagonal += second[chunk] @ np.square(self.at.rows(rows[chunk]))
        return diagonal, second.sum()

    def _label_weights(self, rows: slice | Array) -> Array | None:
        return None if self.label_weights is None else self.label_weights[rows]

    def _chunks(self, rows: int, outputs: int) -> Iterator[slice]:
        size = max(1, CHUNK_BYTES // (self.at.x.itemsize * max(outputs, self.at.x.shape[1])))
        return (slice(start, start + size) for start in range(0, rows, size))


def linear_problems(
    rows: Rows, at: Coordinates, weights: Array, outputs: int, check: Callable[[], None]
) -> Problems:
    """Return one problem per row of `weights` (B, N), in the coordinates `at`."""
    share = (weights / weights.sum(axis=1, keepdims=True)).astype(at.x.dtype)
    label_weights = None
    if rows.weights.ndim == 2:
        label_weights = (rows.weights / rows.weights.mean()).astype(at.x.dtype)
    if isinstance(at.x, ShardedFeatures):
        from transfer_core.heads.sharded_problems import sharded_problems

        return sharded_problems(rows, at, share, outputs, check, label_weights)
    return LinearProblems(at, rows.targets, outputs, share, check, rows.criterion, label_weights)
