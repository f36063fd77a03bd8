"""Percentile bootstrap: confidence intervals of metrics.

Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from transfer_core.metrics.arrays import Integers

RESAMPLES = 1000
PERCENTILES = (2.5, 97.5)
# Small enough for a chunk of drawn indices to stay in the processor's cache.
DRAWS_PER_CHUNK = 1 << 18


def resampled_counts(groups: Integers, seed: int, resamples: int = RESAMPLES) -> Iterator[Integers]:
    """Draw N examples with replacement, `resamples` times, and count the draws of each group.

    Parameters
    ----------
    groups
        (N,), the group of each example, 0 to G-1. Examples that a metric treats alike share a group.
    seed
        Seed of the draws.
    resamples
        The number of resamples.

    Yields
    ------
    (B, G) counts, B resamples at a time, `resamples` rows in total; each row sums to N.
    """
    rng = np.random.default_rng(seed)
    n, width = len(groups), int(groups.max()) + 1
    chunk = max(1, DRAWS_PER_CHUNK // n)
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        drawn = groups[rng.integers(n, size=(rows, n), dtype=np.uint32)]
        drawn += width * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * width).reshape(rows, width)


def interval(values: npt.ArrayLike) -> list[float]:
    """95 % percentile interval of resampled values, `[low, high]`."""
    low, high = np.percentile(np.asarray(values, np.float64), PERCENTILES)
    return [float(low), float(high)]
