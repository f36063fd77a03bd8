"""What scikit-learn is asked to learn: one problem of all classes, or one for each label or value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import nn

from transfer_core.heads.rows import Rows
from transfer_core.tasks.criteria import CLASSES, LABELS

Array: TypeAlias = npt.NDArray[Any]
# Raises `Cancelled` if the user asked to stop.
Check: TypeAlias = Callable[[], None]
# From a head's options, rows, the number of outputs, a seed and a check to the layer.
Fit: TypeAlias = Callable[[Any, Rows, int, int, Check], nn.Module]

# With fewer numbers than that, threads mostly wait for each other.
_WORTH_SHARING = 1 << 20


class Problem(NamedTuple):
    """What one estimator learns: `truth` (N,) with `weights` (N,), for these `columns` of the outputs.

    `weights` are None where all count the same: a forest would draw otherwise by ones.
    """

    columns: list[int]
    truth: Array
    weights: Array | None

    @property
    def certainty(self) -> float | None:
        """The logit of a label that all examples have, or none: as if half of one more had it the other way.

        None where there is something to learn.
        """
        if not (self.truth == self.truth[0]).all():
            return None
        odds = float(np.log(2 * len(self.truth) + 1))
        return odds if self.truth[0] else -odds


def problems_of(rows: Rows, outputs: int) -> Iterator[Problem]:
    """One problem of several classes, or one for each label or value."""
    targets, weights = rows.targets.numpy(), rows.weights.numpy().astype(np.float64)
    if rows.criterion.layout == CLASSES:
        yield Problem(list(range(outputs)), targets, none_if_equal(weights))
        return
    number = np.int64 if rows.criterion.layout == LABELS else np.float64
    for k in range(outputs):
        own = np.ascontiguousarray(weights[:, k]) if weights.ndim == 2 else weights
        yield Problem([k], np.ascontiguousarray(targets[:, k], number), none_if_equal(own))


def none_if_equal(weights: Array) -> Array | None:
    """`weights` (N,), or None where all are 1."""
    return None if (weights == 1).all() else weights


def per_column(of_classes: Array, columns: list[int]) -> Array:
    """scikit-learn's numbers (K, …), or (1, …) for the second of two classes, with a row for each column."""
    if len(columns) == 2 and len(of_classes) == 1:
        return np.concatenate([-of_classes / 2, of_classes / 2])
    return of_classes


def on_threads_that_pay(fit: Fit) -> Fit:
    """The same with one thread where there is little to do."""

    @wraps(fit)
    def limited(spec: Any, rows: Rows, outputs: int, seed: int, check: Check) -> nn.Module:
        from threadpoolctl import threadpool_limits  # comes with scikit-learn

        with threadpool_limits(1 if rows.features.numel() < _WORTH_SHARING else None):
            return fit(spec, rows, outputs, seed, check)

    return limited
