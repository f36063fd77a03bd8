"""Input validation and element-wise helpers for metrics."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]


def as_matrix(values: npt.ArrayLike, columns: int, name: str) -> Floats:
    """Convert `values` to float64 (N, columns); raise `ValueError` unless N ≥ 1 and all are finite.

    Parameters
    ----------
    values
        (N, columns).
    columns
        The expected width.
    name
        The name of `values` in error messages.
    """
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
    """Convert `values` to int64 (N,); raise `ValueError` unless N ≥ 1 and all are indices below `classes`.

    Parameters
    ----------
    values
        (N,) integers.
    classes
        The number of classes.
    name
        The name of `values` in error messages.
    """
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
    """Convert `values` to bool (N, labels); raise `ValueError` unless N ≥ 1 and all are 0 or 1.

    Parameters
    ----------
    values
        (N, labels) of 0 and 1.
    labels
        The expected width.
    name
        The name of `values` in error messages.
    """
    matrix = as_matrix(values, labels, name)
    if not np.isin(matrix, (0, 1)).all():
        raise ValueError(f"{name} must be 0 or 1")
    return matrix.astype(bool)


def check_same_length(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> None:
    """Raise `ValueError` unless both have the same number of rows."""
    if len(first) != len(second):
        raise ValueError(f"one target per prediction is needed, got {len(second)} for {len(first)}")


def ratio(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> Floats:
    """Divide element-wise; 0 where the denominator is 0."""
    above, below = np.broadcast_arrays(np.asarray(numerator, np.float64), np.asarray(denominator, np.float64))
    quotient: Floats = np.divide(above, below, out=np.zeros(above.shape), where=below != 0)
    return quotient
