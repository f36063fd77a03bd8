"""Group DRO: weights of groups that grow with their losses (Sagawa et al. 2020, algorithm 1)."""

from __future__ import annotations

import numpy as np

from transfer_core.tasks.criteria import Array

# Of the exponent that a group of average loss gets in a step.
STEP = 0.5


def mean_by_group(losses: Array, groups: Array, count: int) -> Array:
    """Mean loss of each group.

    Parameters
    ----------
    losses
        (N,) losses of examples.
    groups
        (N,) numbers of their groups; -1 for none.
    count
        C, the number of groups.

    Returns
    -------
    (C,) means; the mean of all examples for a group without one.
    """
    known = groups >= 0
    sums = np.bincount(groups[known], losses[known], count)
    sizes = np.bincount(groups[known], minlength=count)
    means: Array = np.where(sizes > 0, sums / np.maximum(sizes, 1), losses.mean())
    return means


def next_factors(factors: Array, losses: Array) -> Array:
    """Factors (C,) after an exponentiated gradient step by the losses (C,) of the groups; 1 on average.

    Losses are relative to their mean, so that their unit does not matter.

    Examples
    --------
    >>> next_factors(np.ones(2), np.array([1.0, 1.0])).tolist()
    [1.0, 1.0]
    >>> next_factors(np.ones(2), np.array([3.0, 1.0])).round(2).tolist()
    [1.24, 0.76]
    """
    grown = factors * np.exp(STEP * losses / max(float(losses.mean()), 1e-12))
    following: Array = grown / grown.mean()
    return following
