"""Contrastive loss: embeddings of one class become similar, those of different classes orthogonal."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize


def contrastive_loss(embeddings: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Squared error between the cosine of each pair of a batch and 1 (same class) or 0 (different classes).

    (mean over pairs of one class of (cos - 1)² + mean over the others of cos²) / 2, times the sum of
    `weights`. That is the loss of SetFit (Tunstall et al. 2022, https://arxiv.org/abs/2209.11055), i.e.
    CosineSimilarityLoss of sentence-transformers with as many pairs of either kind, for all pairs of the
    batch instead of sampled ones.

    Parameters
    ----------
    embeddings
        (N, D).
    targets
        Classes (N,).
    weights
        (N,); only their sum counts.
    """
    rows = normalize(embeddings.float(), dim=1)
    first, second = torch.triu_indices(len(rows), len(rows), 1, device=rows.device)
    cosines = (rows[first] * rows[second]).sum(dim=1)
    alike = targets[first] == targets[second]
    losses = [
        (cosines[kind] - goal).square().mean() for kind, goal in ((alike, 1.0), (~alike, 0.0)) if kind.any()
    ]
    return weights.sum() * sum(losses, rows.sum() * 0) / max(1, len(losses))
