"""Weights of source examples against independent solvers, definitions and shifts with a known answer."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from transfer_core.kinds.discriminator import discriminator, separate
from transfer_core.kinds.example_weights import effective_sample_size
from transfer_core.kinds.kernels import median_gamma, rbf
from transfer_core.kinds.kliep import kliep
from transfer_core.kinds.kmm import kmm
from transfer_core.kinds.tradaboost import tradaboost, tradaboost_r2
from transfer_core.kinds.ulsif import leave_one_out, ulsif

METHODS = [kmm, kliep, ulsif, discriminator]


def shifted(rows: int = 400, shift: float = 1.0, width: int = 2, seed: int = 0):
    """Normal domains that differ in the mean of the first feature, and the source's true density ratio."""
    rng = np.random.default_rng(seed)
    source, target = rng.normal(size=(rows, width)), rng.normal(size=(rows, width))
    target[:, 0] += shift
    return source, target, np.exp(shift * source[:, 0] - shift**2 / 2)


@pytest.mark.parametrize("method", METHODS)
def test_weights_follow_the_true_density_ratio(method):
    source, target, ratio = shifted()
    weights = method(source, target)
    assert weights.shape == (400,)
    assert (weights >= 0).all()
    ranks = [np.argsort(np.argsort(one)) for one in (weights, ratio)]
    assert np.corrcoef(*ranks)[0, 1] > (0.4 if method is kmm else 0.85)  # those of KMM are sparse
    moved = np.average(source[:, 0], weights=weights)
    assert 0.5 < moved < 1.3  # the target's mean is 1, the unweighted source's 0


@pytest.mark.parametrize("method", METHODS)
def test_equal_domains_get_nearly_equal_weights(method):
    source, _, _ = shifted()
    weights = method(source, source.copy())
    assert effective_sample_size(weights) > 0.8 * len(source)


def test_the_discriminator_of_equal_domains_gives_exactly_equal_weights():
    source, _, _ = shifted()
    assert (discriminator(source, source.copy()) == 1).all()


@pytest.mark.parametrize("method", METHODS)
def test_weights_do_not_depend_on_the_order_of_the_source(method):
    source, target, _ = shifted(200)
    order = np.random.default_rng(3).permutation(len(source))
    straight, permuted = method(source, target)[order], method(source[order], target)
    ranks = [np.argsort(np.argsort(one)) for one in (straight, permuted)]
    assert np.corrcoef(*ranks)[0, 1] > 0.95


@pytest.mark.parametrize("method", METHODS)
def test_weights_are_invariant_to_a_rotation_shift_and_scale(method):
    source, target, _ = shifted(150)
    angle = np.array([[0.6, -0.8], [0.8, 0.6]])
    straight, turned = method(source, target), method(source @ angle * 3 + 5, target @ angle * 3 + 5)
    assert np.corrcoef(straight, turned)[0, 1] > 0.95


def test_kmm_is_as_good_as_a_general_solver():
    source, target, _ = shifted(40)
    gamma = median_gamma(source, target)
    kernel = rbf(source, source, gamma)
    linear = rbf(source, target, gamma).sum(axis=1) * len(source) / len(target)

    def loss(beta: np.ndarray) -> float:
        return float(beta @ kernel @ beta / 2 - linear @ beta)

    slack = 0.2
    found = minimize(
        loss,
        np.ones(40),
        jac=lambda beta: kernel @ beta - linear,
        bounds=[(0, 5)] * 40,
        constraints=[
            {"type": "ineq", "fun": lambda beta: slack - (beta.mean() - 1)},
            {"type": "ineq", "fun": lambda beta: slack + (beta.mean() - 1)},
        ],
        method="SLSQP",
        options={"maxiter": 1000, "ftol": 1e-12},
    )
    ours = kmm(source, target, gamma, limit=5, slack=slack)
    assert (ours >= 0).all()
    assert (ours <= 5 + 1e-9).all()
    assert abs(ours.mean() - 1) <= slack + 1e-6
    assert loss(ours) <= found.fun + 1e-4 * abs(found.fun)


def test_kmm_with_landmarks_agrees_with_the_whole_kernel(monkeypatch):
    source, target, _ = shifted(300)
    whole = kmm(source, target, limit=10)
    monkeypatch.setattr("transfer_core.kinds.kmm._WHOLE_KERNEL", 100)
    monkeypatch.setattr("transfer_core.kinds.kmm._LANDMARKS", 150)
    assert np.corrcoef(whole, kmm(source, target, limit=10))[0, 1] > 0.95


def test_kliep_has_the_likelihood_of_a_general_solver():
    source, target, _ = shifted(60)
    gamma = 0.5
    of_source, of_target = rbf(source, target[:100], gamma), rbf(target, target[:100], gamma)
    found = minimize(
        lambda alpha: -np.log(np.maximum(of_target @ alpha, 1e-12)).mean(),
        np.full(60, 1 / of_source.mean(axis=0).sum()),
        jac=lambda alpha: -(of_target / np.maximum(of_target @ alpha, 1e-12)[:, None]).mean(axis=0),
        bounds=[(0, None)] * 60,
        constraints=[{"type": "eq", "fun": lambda alpha: (of_source @ alpha).mean() - 1}],
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-10},
    )
    theirs = of_source @ found.x
    ours = kliep(source, target, gamma)
    assert ours.mean() == pytest.approx(1)
    assert np.abs(ours - theirs).max() < 0.1 * theirs.max()


def test_leave_one_out_is_that_of_refitted_ratios():
    rng = np.random.default_rng(0)
    of_source, of_target = rng.random((12, 4)), rng.random((10, 4))
    losses = []
    for i in range(10):
        left, others = np.delete(of_source, i, axis=0), np.delete(of_target, i, axis=0)
        alpha = np.linalg.solve(left.T @ left / 11 + 0.3 * np.eye(4), others.mean(axis=0))
        alpha = np.maximum(alpha, 0)
        losses.append((of_source[i] @ alpha) ** 2 / 2 - of_target[i] @ alpha)
    assert leave_one_out(of_source, of_target, 0.3) == pytest.approx(np.mean(losses))


def test_separation_is_that_of_the_domains():
    source, target, _ = shifted(300, shift=20.0)
    assert separate(source, target).error < 0.01
    same = separate(source[:150], source[150:]).error
    assert same == pytest.approx(0.5, abs=0.1)


def _nearest_mean(features, classes, weights):
    middles = [
        np.average(features[classes == one], axis=0, weights=weights[classes == one] + 1e-12)
        for one in (0, 1)
    ]
    distances = [np.square(features - middle).sum(axis=1) for middle in middles]
    return (distances[1] < distances[0]).astype(int)


def test_tradaboost_takes_weight_from_source_examples_that_contradict_the_target():
    rng = np.random.default_rng(0)
    classes = rng.integers(2, size=200)
    source = rng.normal(size=(200, 2)) + np.where(classes == 1, 2, -2)[:, None]
    misleading = np.arange(200) < 60
    target_classes = np.arange(30) % 2
    target = rng.normal(size=(30, 2)) + np.where(target_classes == 1, 1.5, -1.5)[:, None]
    found = tradaboost(
        source, np.where(misleading, 1 - classes, classes), target, target_classes, _nearest_mean
    )
    assert (found.source >= 0).all()
    assert found.source[misleading].mean() < 0.3 * found.source[~misleading].mean()


def test_tradaboost_follows_the_papers_update():
    features = np.arange(8.0)[:, None]
    truth = np.array([0, 0, 1, 1, 0, 1, 0, 1])
    answers = iter([np.array([1, 0, 1, 1, 1, 1, 0, 1]), np.array([0, 0, 1, 1, 0, 1, 0, 1])])
    found = tradaboost(features[:4], truth[:4], features[4:], truth[4:], lambda *_: next(answers), rounds=2)
    beta = 1 / (1 + np.sqrt(2 * np.log(4) / 2))
    weights = np.array([beta, 1, 1, 1])  # the first round's error on the target is 1/4: 3 for the wrong one
    assert found.source == pytest.approx(weights / weights.mean())
    assert found.target == pytest.approx(np.array([3, 1, 1, 1]) / weights.mean())
    assert found.errors == (0.25, 0.0)


def _line(features, values, weights):
    design = np.column_stack([features, np.ones(len(features))]) * np.sqrt(weights)[:, None]
    coefficients = np.linalg.lstsq(design, values * np.sqrt(weights)[:, None], rcond=None)[0]
    return np.column_stack([features, np.ones(len(features))]) @ coefficients


def test_tradaboost_r2_prefers_source_examples_on_the_targets_line():
    rng = np.random.default_rng(0)
    source, target = rng.uniform(-1, 1, (200, 1)), rng.uniform(-1, 1, (20, 1))
    unlike = np.arange(200) < 100
    values = np.where(unlike[:, None], -3 * source + 4, 2 * source) + rng.normal(0, 0.05, (200, 1))
    found = tradaboost_r2(source, values, target, 2 * target, _line)
    assert found.source[unlike].mean() < 0.2 * found.source[~unlike].mean()
    assert min(found.errors) < 0.5 * found.errors[0]


def test_effective_sample_size():
    assert effective_sample_size(np.ones(7)) == pytest.approx(7)
    assert effective_sample_size(np.array([1.0, 0, 0])) == pytest.approx(1)
    assert effective_sample_size(np.zeros(3)) == 0


def test_large_domains_are_weighted_in_bounded_memory():
    source, target, ratio = shifted(9000)
    weights = kmm(source.astype(np.float32), target.astype(np.float32), limit=10)
    assert np.corrcoef(weights, np.minimum(ratio, 10))[0, 1] > 0.5
