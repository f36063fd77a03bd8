"""Out-of-distribution scores against scipy, scikit-learn and direct definitions."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.spatial.distance import mahalanobis as scipy_mahalanobis
from scipy.special import logsumexp
from sklearn.metrics import roc_auc_score

from transfer_core.metrics.out_of_distribution import auroc, energy, mahalanobis, nearest_neighbour, threshold

RNG = np.random.default_rng(0)


def test_energy_is_scipys_log_sum_exp():
    outputs = RNG.standard_normal((20, 5)) * 30
    assert energy(outputs, 2.0) == pytest.approx(-2 * logsumexp(outputs / 2, axis=1))


def test_mahalanobis_to_the_nearest_mean():
    rows, means = RNG.standard_normal((10, 4)), RNG.standard_normal((3, 4))
    precision = np.linalg.inv(np.cov(RNG.standard_normal((4, 50))))
    expected = [min(scipy_mahalanobis(row, mean, precision) ** 2 for mean in means) for row in rows]
    assert mahalanobis(rows, means, np.linalg.cholesky(precision)) == pytest.approx(expected)


def test_distance_to_the_kth_neighbour():
    rows, known = RNG.standard_normal((10, 4)), RNG.standard_normal((30, 4))
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)  # noqa: E731
    expected = np.sort(cdist(unit(rows), unit(known)), axis=1)[:, 2]
    assert nearest_neighbour(rows, known, 3) == pytest.approx(expected, abs=1e-3)


def test_auroc_with_ties_is_scikit_learns():
    inside, outside = RNG.integers(0, 6, 40).astype(float), RNG.integers(2, 9, 30).astype(float)
    truth = np.r_[np.zeros(40), np.ones(30)]
    assert auroc(inside, outside) == pytest.approx(roc_auc_score(truth, np.r_[inside, outside]))


def test_the_threshold_covers_its_share():
    kept = [np.mean(RNG.standard_normal(500) <= threshold(RNG.standard_normal(99), 0.9)) for _ in range(200)]
    assert np.mean(kept) == pytest.approx(0.9, abs=0.01)
    assert threshold(np.zeros(5), 0.95) == float("inf")
