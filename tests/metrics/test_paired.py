"""The paired randomization test beside scipy's."""

import numpy as np
import pytest
from scipy.stats import permutation_test

from transfer_core.metrics.paired import gain_p_value


@pytest.mark.parametrize(("count", "gain"), [(8, 0.3), (12, 0.0), (150, 0.1), (150, -0.2)])
def test_as_scipy(count, gain):
    rng = np.random.default_rng(count)
    before = rng.exponential(size=count)
    after = before - gain + rng.normal(scale=0.5, size=count)
    expected = permutation_test(
        (before, after),
        lambda first, second, axis: (first - second).mean(axis=axis),
        permutation_type="samples",
        alternative="greater",
        vectorized=True,
        n_resamples=9999,
    ).pvalue
    assert gain_p_value(before, after) == pytest.approx(expected, abs=0.02)
    assert gain_p_value(before, after, seed=1) == pytest.approx(expected, abs=0.02)


def test_without_a_difference_nothing_was_gained():
    same = np.ones(30)
    assert gain_p_value(same, same) == gain_p_value(np.empty(0), np.empty(0)) == 1.0
