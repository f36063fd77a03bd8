"""Transferability scores against scipy's evidence, direct definitions and scikit-learn."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import kendalltau, multivariate_normal
from sklearn.covariance import ledoit_wolf

from transfer_core.selection.transferability import (
    h_score,
    ledoit_wolf_intensity,
    leep,
    log_me,
    n_leep,
    one_hot,
    trans_rate,
)


def blobs(separation, n=90, width=12, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    centers = rng.standard_normal((classes, width))
    return (separation * centers[labels] + rng.standard_normal((n, width))).astype(np.float32), labels


@pytest.mark.parametrize(("n", "width"), [(60, 8), (20, 35)])
def test_log_me_is_the_maximum_of_the_evidence(n, width):
    rows, labels = blobs(1.0, n, width)

    def evidence(logs, target):
        alpha, beta = np.exp(logs)
        covariance = np.eye(n) / beta + rows.astype(float) @ rows.T.astype(float) / alpha
        return multivariate_normal(np.zeros(n), covariance).logpdf(target)

    best = [
        -minimize(lambda *args: -evidence(*args), np.zeros(2), (target,), method="Nelder-Mead").fun / n
        for target in one_hot(labels).T
    ]
    assert log_me(rows, labels) == pytest.approx(np.mean(best), abs=1e-4)


def test_log_me_of_values_equals_that_of_indicators():
    rows, labels = blobs(1.0)
    assert log_me(rows, labels) == log_me(rows, one_hot(labels))


@pytest.mark.parametrize(("n", "width"), [(90, 12), (30, 50)])
def test_h_score_is_the_trace_of_its_definition(n, width):
    rows, labels = blobs(1.0, n, width)
    covariance, shrinkage = ledoit_wolf(rows.astype(float))
    centered = rows.astype(float) - rows.mean(axis=0, dtype=float)
    assert ledoit_wolf_intensity(centered) == pytest.approx(shrinkage, rel=1e-8)
    means = np.array([centered[labels == k].mean(axis=0) for k in range(3)])
    between = sum((labels == k).mean() * np.outer(means[k], means[k]) for k in range(3))
    expected = (1 - shrinkage) * np.trace(np.linalg.solve(covariance, between))
    assert h_score(rows, labels) == pytest.approx(expected, rel=1e-6)


def test_trans_rate_is_the_difference_of_coding_rates():
    rows, labels = blobs(1.0, 40, 6)
    z = rows - rows.mean(axis=0)
    z = z.astype(float) / np.sqrt((z.astype(float) ** 2).mean())

    def rate(part):
        return 0.5 * np.log(np.linalg.det(np.eye(6) + part.T @ part / (len(part) * 1e-4)))

    within = sum((labels == k).mean() * rate(z[labels == k]) for k in range(3))
    assert trans_rate(rows, labels) == pytest.approx(rate(z) - within, rel=1e-3)


def test_leep_of_certain_and_of_useless_clusters():
    labels = np.array([0, 0, 1, 1, 2, 2])
    assert leep(one_hot(labels), labels) == pytest.approx(0)
    assert leep(np.full((6, 4), 0.25), labels) == pytest.approx(np.log(1 / 3))


@pytest.mark.parametrize("score", [log_me, h_score, trans_rate, n_leep])
def test_clearer_classes_score_higher(score):
    separations = [0.0, 0.3, 0.6, 1.0, 2.0]
    scores = [np.mean([score(*blobs(s, seed=seed)) for seed in range(3)]) for s in separations]
    assert kendalltau(scores, separations).statistic > 0.9


@pytest.mark.parametrize("score", [log_me, h_score, trans_rate])
def test_no_score_depends_on_the_order_of_examples_or_on_a_rotation(score):
    rows, labels = blobs(0.7)
    rows = rows - rows.mean(axis=0)
    order = np.random.default_rng(1).permutation(len(rows))
    rotation = np.linalg.qr(np.random.default_rng(2).standard_normal((12, 12)))[0]
    expected = score(rows, labels)
    assert score(rows[order], labels[order]) == pytest.approx(expected, rel=1e-4)
    assert score(rows @ rotation, labels) == pytest.approx(expected, rel=1e-3)


def test_constant_embeddings_are_no_error():
    labels = np.arange(20) % 2
    for score in (log_me, h_score, trans_rate):
        assert np.isfinite(score(np.ones((20, 4), np.float32), labels))
