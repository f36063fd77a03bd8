"""Input validation and matrix helpers of the methods."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Integers: TypeAlias = npt.NDArray[np.integer[Any]]

# Rows of a product that are held in float64 at once.
_CHUNK = 4096


def domains(source: npt.ArrayLike, target: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Convert both domains to matrices of one floating type.

    Parameters
    ----------
    source, target
        (N, D) and (M, D) features.

    Raises
    ------
    ValueError
        If a domain is empty, not finite, or not as wide as the other.
    """
    found = [as_features(source, "the source domain"), as_features(target, "the target domain")]
    if found[0].shape[1] != found[1].shape[1]:
        widths = " and ".join(str(part.shape[1]) for part in found)
        raise ValueError(f"source and target must have equally many features, got {widths}")
    kind = np.result_type(*found)
    return found[0].astype(kind, copy=False), found[1].astype(kind, copy=False)


def as_features(values: npt.ArrayLike, name: str) -> Floats:
    """Convert to float32 or float64 (N, D); raise `ValueError` unless N ≥ 1 and all values are finite."""
    matrix: npt.NDArray[Any] = np.asarray(values)
    if matrix.dtype not in (np.float32, np.float64):
        matrix = matrix.astype(np.float64)
    if matrix.ndim != 2:
        raise ValueError(f"{name} must have the shape (N, D), got {matrix.shape}")
    if not len(matrix):
        raise ValueError(f"{name} is empty")
    if not np.isfinite(matrix.sum()) and not np.isfinite(matrix).all():
        raise ValueError(f"{name} must be finite numbers, got NaN or infinity")
    return matrix


def chunks(rows: int, size: int = _CHUNK) -> Iterator[slice]:
    """Consecutive slices of at most `size` of so many rows."""
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def moments(features: Floats) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean (D,) and covariance (D, D) of the rows, float64, without a copy of all rows."""
    mean: npt.NDArray[np.float64] = features.mean(axis=0, dtype=np.float64)
    covariance = np.zeros((features.shape[1],) * 2)
    for some in chunks(len(features)):
        part = features[some] - mean.astype(features.dtype)
        covariance += part.T @ part
    return mean, covariance / max(1, len(features) - 1)


def some_rows(features: Floats, most: int, seed: int) -> Floats:
    """At most `most` rows, drawn without replacement, in their order."""
    if len(features) <= most:
        return features
    drawn = np.random.default_rng(seed).choice(len(features), most, replace=False)
    return features[np.sort(drawn)]
