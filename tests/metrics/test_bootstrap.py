"""Resamples against the multinomial distribution, whose moments are known."""

import numpy as np
import pytest

from transfer_core.metrics.bootstrap import DRAWS_PER_CHUNK, interval, resampled_counts


def test_counts_have_the_moments_of_a_multinomial():
    groups = np.repeat([0, 1, 2], [70, 20, 10])
    counts = np.concatenate(list(resampled_counts(groups, seed=0, resamples=20_000)))
    shares = np.array([0.7, 0.2, 0.1])
    covariance = 100 * (np.diag(shares) - np.outer(shares, shares))
    assert counts.shape == (20_000, 3)
    assert (counts.sum(axis=1) == 100).all()
    assert counts.mean(axis=0) == pytest.approx(100 * shares, abs=0.15)
    assert np.cov(counts.T) == pytest.approx(covariance, abs=0.8)


@pytest.mark.parametrize("n", [1, 2, 1000, DRAWS_PER_CHUNK + 1])
def test_every_size_gives_the_asked_number_of_resamples(n):
    chunks = list(resampled_counts(np.arange(n) % 7, seed=0, resamples=5))
    assert sum(len(chunk) for chunk in chunks) == 5
    assert all((chunk.sum(axis=1) == n).all() for chunk in chunks)


def test_an_interval_is_the_middle_95_percent():
    assert interval(np.arange(1001)) == [25.0, 975.0]
