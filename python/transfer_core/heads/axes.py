"""The axes along which a linear head is fitted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Axes with less than this share of the largest variance are rounding, not data.
NEGLIGIBLE = 1e-10


@dataclass(frozen=True)
class Axes:
    """Orthonormal `basis` (D, R) and the `variance` (R,) of centred rows along each axis, largest first."""

    basis: Tensor
    variance: Tensor


def principal_axes(features: Tensor) -> Axes:
    """The principal axes of `features` (N, D), centred; R is at most min(N, D).

    A linear fit with an L2 penalty is the same along these axes as along the features: the penalty does
    not change under rotation, and the weights have no part outside the rows' span. It is the cheaper there,
    with fewer rows than features, and the rounder: along these axes the squared loss's curvature is
    diagonal.

    Computed from the smaller of the two Gram matrices, in double precision.
    """
    n, width = features.shape
    wide = n < width
    gram = features.double() @ features.double().T if wide else _gram(features)
    values, vectors = torch.linalg.eigh(gram)
    kept = (values > NEGLIGIBLE * values[-1]).nonzero().flatten().flip(0)
    values, vectors = values[kept], vectors[:, kept]
    basis = features.double().T @ vectors / values.sqrt() if wide else vectors
    return Axes(basis, values / n)


def _gram(features: Tensor, chunk: int = 4096) -> Tensor:
    """X'X (D, D) in double precision, without a second copy of all of X."""
    gram = torch.zeros(features.shape[1], features.shape[1], dtype=torch.float64)
    for part in torch.split(features, chunk):
        gram += part.double().T @ part.double()
    return gram
