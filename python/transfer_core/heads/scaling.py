"""Feature scaling for the fit of a head: (x - mean) / scale."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# Share of nonzero features below which they are counts of words or categories.
_SPARSE = 0.05

# Chunk size: the features are never copied as a whole.
ROWS_AT_ONCE = 1024


class Scaling(NamedTuple):
    """`mean` (D,) and `scale` (D,)."""

    mean: Tensor
    scale: Tensor


def standardization(features: Tensor) -> Scaling:
    """Return a scale per feature of `features` (N, D), its standard deviation; one shared scale for counts.

    The scale is at least a hundredth of the average, so that a feature that is almost constant in training is
    not amplified later. With a scale each, rare counts would outweigh all others.
    """
    return scalings(features)[0]


def scalings(features: Tensor) -> list[Scaling]:
    """Return the candidate scalings of `features` (N, D): a scale per feature, and one for all.

    One for all is better if features of higher variance are more informative, as counts are.
    """
    mean, deviation = _moments(features)
    shared = Scaling(mean, deviation.square().mean().sqrt().clamp_min(1e-12).expand_as(deviation))
    if are_counts(features):
        return [shared]
    floor = (0.01 * deviation.mean()).clamp_min(1e-12)
    return [Scaling(mean, deviation.clamp_min(floor)), shared]


def are_counts(features: Tensor) -> bool:
    """Return whether `features` (N, D) are sparse, and so counts of words or categories."""
    present = sum(int(part.count_nonzero()) for part in torch.split(features, ROWS_AT_ONCE))
    return present < _SPARSE * features.numel()


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean (D,) and standard deviation (D,)."""
    total = torch.zeros(features.shape[1], dtype=torch.float64)
    squares = torch.zeros_like(total)
    for part in torch.split(features, ROWS_AT_ONCE):
        total += part.sum(dim=0, dtype=torch.float64)
    mean = (total / len(features)).to(features.dtype)
    for part in torch.split(features, ROWS_AT_ONCE):
        squares += (part - mean).square().sum(dim=0, dtype=torch.float64)
    return mean, (squares / len(features)).sqrt().to(features.dtype)
