"""Criteria without labels of the target: definitions and known answers."""

from __future__ import annotations

import numpy as np
import pytest

from transfer_core.kinds.selection import (
    deep_embedded_validation,
    importance_weighted,
    mutual_information,
    negative_entropy,
    soft_neighborhood_density,
)


def test_mutual_information_is_largest_for_confident_and_balanced_predictions():
    balanced = np.eye(4)[np.arange(40) % 4]
    assert mutual_information(balanced) == pytest.approx(np.log(4))
    assert mutual_information(np.eye(4)[np.zeros(40, int)]) == pytest.approx(0)
    assert mutual_information(np.full((40, 4), 0.25)) == pytest.approx(0)


def test_entropy_is_the_definition():
    scores = np.array([[0.2, 0.8], [0.5, 0.5]])
    assert negative_entropy(scores) == pytest.approx((scores * np.log(scores)).sum(axis=1))


def test_density_is_the_definition():
    rng = np.random.default_rng(0)
    scores = rng.dirichlet(np.ones(3), 8)
    unit = scores / np.linalg.norm(scores, axis=1, keepdims=True)
    entropies = []
    for i in range(8):
        similar = np.exp(np.array([unit[i] @ unit[j] / 0.05 for j in range(8) if j != i]))
        shares = similar / similar.sum()
        entropies.append(-(shares * np.log(shares)).sum())
    assert soft_neighborhood_density(scores) == pytest.approx(np.mean(entropies))


def test_weighted_risk_of_a_shifted_domain_is_found_with_less_variance():
    rng = np.random.default_rng(0)
    source = rng.normal(size=4000)
    losses, weights = 1 + 0.2 * source, np.exp(source - 0.5)  # the target's mean is 1: its loss 1.2
    plain, controlled = importance_weighted(losses, weights), deep_embedded_validation(losses, weights)
    assert plain.loss == pytest.approx(1.2, abs=4 * plain.error)
    assert controlled.loss == pytest.approx(1.2, abs=4 * controlled.error)
    assert controlled.error < plain.error


def test_equal_weights_give_the_mean_loss():
    losses = np.array([1.0, 2.0, 3.0])
    assert importance_weighted(losses, np.ones(3)).loss == pytest.approx(2)
    assert deep_embedded_validation(losses, np.ones(3)).loss == pytest.approx(2)
