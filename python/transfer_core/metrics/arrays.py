"""The shapes that metrics are computed from, checked once at the door."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]


def as_matrix(values: npt.ArrayLike, columns: int, name: str) -> Floats:
    """`values` as float64 (N, columns) with N ≥ 1 and nothing but finite numbers, or a `ValueError`."""
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[1] != columns:
        raise ValueError(f"{name} must have the shape (N, {columns}), got {matrix.shape}")
    if len(matrix) == 0:
        raise ValueError(f"{name} must have at least one row, got none")
    if broken := int((~np.isfinite(matrix)).any(axis=1).sum()):
        raise ValueError(
            f"{name} must be finite numbers, got NaN or infinity in {broken} of {len(matrix)} rows"
        )
    return matrix


def as_classes(values: npt.ArrayLike, classes: int, name: str) -> Integers:
    """`values` as int64 (N,), each an index below `classes`, with N ≥ 1, or a `ValueError`."""
    indices: npt.NDArray[Any] = np.asarray(values)
    if indices.ndim != 1 or len(indices) == 0 or indices.dtype.kind not in "iu":
        raise ValueError(
            f"{name} must be integers of the shape (N,) with N ≥ 1, got {indices.dtype} {indices.shape}"
        )
    if indices.min() < 0 or indices.max() >= classes:
        raise ValueError(
            f"{name} must lie between 0 and {classes - 1}, got {indices.min()} to {indices.max()}"
        )
    return indices.astype(np.int64)


def as_label_sets(values: npt.ArrayLike, labels: int, name: str) -> npt.NDArray[np.bool_]:
    """`values` as bool (N, labels) with N ≥ 1 and nothing but 0 and 1, or a `ValueError`."""
    matrix = as_matrix(values, labels, name)
    if not np.isin(matrix, (0, 1)).all():
        raise ValueError(f"{name} must be 0 or 1")
    return matrix.astype(bool)


def same_length(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> None:
    """A `ValueError` unless the two have one row per example."""
    if len(first) != len(second):
        raise ValueError(f"one target per prediction is needed, got {len(second)} for {len(first)}")


def ratio(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> Floats:
    """Element by element `numerator / denominator`, with 0 wherever the denominator is 0."""
    above, below = np.broadcast_arrays(np.asarray(numerator, np.float64), np.asarray(denominator, np.float64))
    quotient: Floats = np.divide(above, below, out=np.zeros(above.shape), where=below != 0)
    return quotient
