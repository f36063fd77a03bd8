"""The default head: a linear layer fitted to convergence, its L2 strength chosen by cross-validation.

Minimises, over W (D, K) and b (K,),

    sum_n w_n loss(W' z_n + b, y_n) / sum_n w_n + strength / 2 |W|²

with z standardised features, and cross-entropy or half the squared error as the loss. Both are convex, so
there is nothing to tune: no learning rate, no number of epochs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from transfer_core.heads.lbfgs import Objective, minimize
from transfer_core.heads.rows import Rows, fold_of
from transfer_core.progress import Progress

STRENGTHS = tuple(10.0**e for e in (1, 0.5, 0, -0.5, -1, -1.5, -2, -2.5, -3, -3.5, -4))
CHUNK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class LinearFit:
    """`weight` (D, K) and `bias` (K,) on standardised features; `held_out` (N, K) are the outputs for
    each row from a fit that did not see it; `path` has strength and held-out loss, one per strength."""

    weight: Tensor
    bias: Tensor
    strength: float
    held_out: Tensor
    path: list[dict[str, float]]


def fit_linear(rows: Rows, outputs: int, folds: int, seed: int, progress: Progress) -> LinearFit:
    """Fit `rows` (standardised features) for the strength with the lowest held-out loss.

    The strengths are walked from strong to weak, each fit starting from the last, all folds in one
    batched solve. The walk ends when the held-out loss has risen twice: it has one valley.
    """
    basis, z = _rotate(rows.features)
    folds = min(folds, int(rows.groups.max()) + 1)
    fold = fold_of(rows, folds, seed)
    fold_weights = torch.stack([rows.weights * (fold != k) for k in range(folds)]).to(z.dtype)
    x = torch.zeros(folds, (z.shape[1] + 1) * outputs, dtype=z.dtype)
    best: tuple[float, float, Tensor] | None = None
    path: list[dict[str, float]] = []
    for i, strength in enumerate(STRENGTHS):
        progress.advance("train", i, len(STRENGTHS), "strengths")
        x = minimize(_objective(z, rows.targets, fold_weights, strength, outputs), x, tolerance=1e-3)
        held_out = _held_out(z, x, fold, outputs)
        loss = _mean_loss(held_out, rows)
        path.append({"strength": strength, "validation_loss": loss})
        if best is None or loss < best[0]:
            best = (loss, strength, held_out)
        if len(path) >= 3 and path[-1]["validation_loss"] > path[-2]["validation_loss"] > best[0]:
            break
    assert best is not None
    _, strength, held_out = best
    everything = rows.weights[None].to(z.dtype)
    start = torch.zeros(1, x.shape[1], dtype=z.dtype)
    solution = minimize(_objective(z, rows.targets, everything, strength, outputs), start, tolerance=1e-5)
    progress.advance("train", len(STRENGTHS), len(STRENGTHS), "strengths")
    weight, bias = _unpack(solution, z.shape[1], outputs)
    return LinearFit((basis @ weight[0]).float(), bias[0].float(), strength, held_out.float(), path)


def _rotate(features: Tensor) -> tuple[Tensor, Tensor]:
    """`features` (N, D) in an orthonormal basis (D, R) of the space they span, R = min(N, D).

    Exact: the L2 penalty does not change under rotation, and W has no part outside that space. With
    fewer rows than features it makes the problem small enough for double precision.
    """
    n, width = features.shape
    if n >= width:
        return torch.eye(width), features
    _, _, basis = torch.linalg.svd(features.double(), full_matrices=False)
    return basis.T, features.double() @ basis.T


def _unpack(x: Tensor, width: int, outputs: int) -> tuple[Tensor, Tensor]:
    """x (B, (D + 1) K) as weights (B, D, K) and biases (B, K)."""
    both = x.view(len(x), width + 1, outputs)
    return both[:, :width], both[:, width]


def _objective(z: Tensor, targets: Tensor, weights: Tensor, strength: float, outputs: int) -> Objective:
    """Loss and gradient of B problems that differ in their row weights (B, N), chunk by chunk of rows."""
    n, width = z.shape
    share = weights / weights.sum(dim=1, keepdim=True)
    truth = one_hot(targets, outputs).to(z.dtype) if not targets.is_floating_point() else targets.to(z.dtype)
    chunk = max(1, CHUNK_BYTES // (8 * len(weights) * outputs))
    residual = _cross_entropy_terms if not targets.is_floating_point() else _squared_error_terms

    def objective(x: Tensor) -> tuple[Tensor, Tensor]:
        weight, bias = _unpack(x, width, outputs)
        problems = len(x)
        flat = weight.permute(1, 0, 2).reshape(width, -1)
        loss = 0.5 * strength * weight.square().sum(dim=(1, 2))
        weight_gradient = strength * weight
        bias_gradient = torch.zeros_like(bias)
        for start in range(0, n, chunk):
            part = slice(start, start + chunk)
            output = (z[part] @ flat).view(-1, problems, outputs) + bias
            losses, slope = residual(output, truth[part, None])
            row_share = share[:, part].T
            loss = loss + (losses * row_share).sum(dim=0)
            slope = slope * row_share[..., None]
            inner = (z[part].T @ slope.view(len(slope), -1)).view(width, problems, outputs)
            weight_gradient = weight_gradient + inner.permute(1, 0, 2)
            bias_gradient = bias_gradient + slope.sum(dim=0)
        gradient = torch.cat([weight_gradient, bias_gradient[:, None]], dim=1).reshape(problems, -1)
        return loss, gradient

    return objective


def _cross_entropy_terms(output: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Losses (n, B) and their slopes (n, B, K) for logits (n, B, K) and one-hot truth (n, 1, K)."""
    log_probability = output.log_softmax(dim=2)
    return -(log_probability * truth).sum(dim=2), log_probability.exp() - truth


def _squared_error_terms(output: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    error = output - truth
    return 0.5 * error.square().sum(dim=2), error


def _held_out(z: Tensor, x: Tensor, fold: Tensor, outputs: int) -> Tensor:
    """The output (N, K) of each row from the problem whose training left that row out."""
    weight, bias = _unpack(x, z.shape[1], outputs)
    result = torch.empty(len(z), outputs, dtype=z.dtype)
    for k in range(len(x)):
        rows = fold == k
        result[rows] = z[rows] @ weight[k] + bias[k]
    return result


def _mean_loss(output: Tensor, rows: Rows) -> float:
    if rows.is_classification:
        losses = cross_entropy(output, rows.targets, reduction="none")
    else:
        losses = (output - rows.targets).square().mean(dim=1)
    loss = float((losses * rows.weights).sum() / rows.weights.sum())
    return loss if math.isfinite(loss) else math.inf
