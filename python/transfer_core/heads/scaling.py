"""Feature scaling for the fit of a head: (x - mean) / scale."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from transfer_core.heads.shards import total
from transfer_core.tasks.criteria import Array

# Share of nonzero features below which they are counts of words or categories.
_SPARSE = 0.05

# Chunk size: the features are never copied as a whole.
ROWS_AT_ONCE = 1024


class Scaling(NamedTuple):
    """`mean` (D,) and `scale` (D,)."""

    mean: Array
    scale: Array


def parts_of(features: Array, size: int = ROWS_AT_ONCE) -> Iterator[Array]:
    """Yield `features` (N, D) in parts of up to `size` rows."""
    return (features[start : start + size] for start in range(0, len(features), size))


def standardization(features: Array) -> Scaling:
    """Return a scale per feature of `features` (N, D), its standard deviation; one shared scale for counts.

    The scale is at least a hundredth of the average, so that a feature that is almost constant in training is
    not amplified later. With a scale each, rare counts would outweigh all others.
    """
    return scalings(features)[0]


def scalings(features: Array) -> list[Scaling]:
    """Return the candidate scalings of `features` (N, D): a scale per feature, and one for all.

    One for all is better if features of higher variance are more informative, as counts are.
    """
    mean, deviation = _moments(features)
    together = max(float(np.sqrt(np.square(deviation).mean())), 1e-12)
    shared = Scaling(mean, np.full_like(deviation, together))
    if are_counts(features):
        return [shared]
    floor = max(0.01 * float(deviation.mean()), 1e-12)
    return [Scaling(mean, np.maximum(deviation, deviation.dtype.type(floor))), shared]


def are_counts(features: Array) -> bool:
    """Return whether `features` (N, D) are sparse, and so counts of words or categories."""
    present: int = total(_nonzeros, features)
    return present < _SPARSE * features.size


def _moments(features: Array) -> Scaling:
    """Return mean (D,) and standard deviation (D,)."""
    mean = (total(_sum, features) / len(features)).astype(features.dtype)
    squares = total(_squares, features, mean)
    return Scaling(mean, np.sqrt(squares / len(features)).astype(features.dtype))


def _nonzeros(features: Array) -> int:
    return sum(int(np.count_nonzero(part)) for part in parts_of(features))


def _sum(features: Array) -> Array:
    found = np.zeros(features.shape[1])
    for part in parts_of(features):
        found += part.sum(axis=0, dtype=np.float64)
    return found


def _squares(features: Array, mean: Array) -> Array:
    found = np.zeros(features.shape[1])
    for part in parts_of(features):
        found += np.square(part - mean).sum(axis=0, dtype=np.float64)
    return found
