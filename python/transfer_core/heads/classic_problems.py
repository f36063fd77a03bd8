"""Problems that scikit-learn fits: one for all classes, or one per label or value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from transfer_core.heads.head import Head
from transfer_core.heads.rows import Rows
from transfer_core.tasks.criteria import CLASSES, LABELS, Array

# Raises `Cancelled` if the user asked to stop.
Check: TypeAlias = Callable[[], None]
# (options of the head, rows, number of outputs, seed, check) -> head.
Fit: TypeAlias = Callable[[Any, Rows, int, int, Check], Head]

# Number of values below which several threads are slower than one.
_WORTH_SHARING = 1 << 20


class Problem(NamedTuple):
    """Targets `truth` (N,) and `weights` (N,) of one estimator, for some `columns` of the outputs.

    `weights` is None if all are 1: with weights of 1 a forest draws other samples than without.
    """

    columns: list[int]
    truth: Array
    weights: Array | None

    @property
    def certainty(self) -> float | None:
        """Logit of a constant label, as if half of one more example had the other value; None otherwise."""
        if not (self.truth == self.truth[0]).all():
            return None
        odds = float(np.log(2 * len(self.truth) + 1))
        return odds if self.truth[0] else -odds


def problems_of(rows: Rows, outputs: int) -> Iterator[Problem]:
    """Yield one problem for all classes, or one per label or value."""
    targets, weights = rows.targets, rows.weights.astype(np.float64)
    if rows.criterion.layout == CLASSES:
        yield Problem(list(range(outputs)), targets, none_if_equal(weights))
        return
    number = np.int64 if rows.criterion.layout == LABELS else np.float64
    for k in range(outputs):
        own = np.ascontiguousarray(weights[:, k]) if weights.ndim == 2 else weights
        yield Problem([k], np.ascontiguousarray(targets[:, k], number), none_if_equal(own))


def none_if_equal(weights: Array) -> Array | None:
    """Return `weights` (N,), or None if all are 1."""
    return None if (weights == 1).all() else weights


def per_column(of_classes: Array, columns: list[int]) -> Array:
    """Return a row per column for numbers (K, …) of scikit-learn, (1, …) for the second of two classes."""
    if len(columns) == 2 and len(of_classes) == 1:
        return np.concatenate([-of_classes / 2, of_classes / 2])
    return of_classes


def with_suitable_threads(fit: Fit) -> Fit:
    """Limit a fit on few values to one thread."""

    @wraps(fit)
    def limited(spec: Any, rows: Rows, outputs: int, seed: int, check: Check) -> Head:
        from threadpoolctl import threadpool_limits  # comes with scikit-learn

        with threadpool_limits(1 if rows.features.size < _WORTH_SHARING else None):
            return fit(spec, rows, outputs, seed, check)

    return limited
