"""Cross-entropy with label smoothing over many classes (Szegedy et al. 2016)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _SmoothedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
        wide = logits.float()
        normalizer = wide.logsumexp(dim=1)
        likelihood = normalizer - wide.gather(1, targets[:, None])[:, 0]
        smoothed = likelihood
        if smoothing:
            smoothed = (1 - smoothing) * likelihood + smoothing * (normalizer - wide.mean(dim=1))
        ctx.save_for_backward(logits, targets, normalizer)
        ctx.smoothing = smoothing
        ctx.mark_non_differentiable(likelihood)
        return smoothed.clone() if smoothed is likelihood else smoothed, likelihood

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None, None]:
        logits, targets, normalizer = ctx.saved_tensors
        probabilities = (logits.float() - normalizer[:, None]).exp_()
        if ctx.smoothing:
            probabilities -= ctx.smoothing / logits.shape[1]
        rows = torch.arange(len(targets), device=targets.device)
        probabilities[rows, targets] -= 1 - ctx.smoothing
        probabilities *= gradients[0][:, None]
        return probabilities.to(logits.dtype), None, None


def smoothed_cross_entropy(logits: Tensor, targets: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Loss of each token.

    (1 - s) (-log p_t) + s / V sum_v (-log p_v) for the target t, with smoothing s and V tokens.

    Parameters
    ----------
    logits
        (n, V).
    targets
        (n,) tokens.
    smoothing
        s, at least 0 and below 1.

    Returns
    -------
    loss : Tensor
        (n,) float32.
    likelihood : Tensor
        (n,) the negative log-likelihood, the loss without smoothing; it has no gradient.
    """
    found: tuple[Tensor, Tensor] = _SmoothedCrossEntropy.apply(logits, targets, smoothing)  # type: ignore[no-untyped-call]
    return found
