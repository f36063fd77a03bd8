"""Features as a head is fitted on them: (x - mean) / scale."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# The share of features that are not 0, below which they count words or categories.
_SPARSE = 0.05

# The features are never copied as a whole.
ROWS_AT_ONCE = 1024


class Scaling(NamedTuple):
    """`mean` (D,) and `scale` (D,)."""

    mean: Tensor
    scale: Tensor


def standardization(features: Tensor) -> Scaling:
    """Each of `features` (N, D) on a scale of its own, its standard deviation.

    That has a floor of one hundredth of its average: a feature that hardly ever fires in training must not be
    blown up when it does fire later. Counts share one scale: with one each, the rare ones would outweigh all
    others.
    """
    return scalings(features)[0]


def scalings(features: Tensor) -> list[Scaling]:
    """The scalings under which `features` (N, D) may be learned: a scale for each, or one for all.

    Which is the better depends on whether a feature that varies more also says more. Of counts it does.
    """
    mean, deviation = _moments(features)
    shared = Scaling(mean, deviation.square().mean().sqrt().clamp_min(1e-12).expand_as(deviation))
    if are_counts(features):
        return [shared]
    floor = (0.01 * deviation.mean()).clamp_min(1e-12)
    return [Scaling(mean, deviation.clamp_min(floor)), shared]


def are_counts(features: Tensor) -> bool:
    """Whether so few of `features` (N, D) are not 0 that they must count something: words, categories."""
    present = sum(int(part.count_nonzero()) for part in torch.split(features, ROWS_AT_ONCE))
    return present < _SPARSE * features.numel()


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (D,) and standard deviation (D,)."""
    total = torch.zeros(features.shape[1], dtype=torch.float64)
    squares = torch.zeros_like(total)
    for part in torch.split(features, ROWS_AT_ONCE):
        total += part.sum(dim=0, dtype=torch.float64)
    mean = (total / len(features)).to(features.dtype)
    for part in torch.split(features, ROWS_AT_ONCE):
        squares += (part - mean).square().sum(dim=0, dtype=torch.float64)
    return mean, (squares / len(features)).sqrt().to(features.dtype)
