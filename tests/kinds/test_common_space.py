"""Common spaces of both domains against definitions and independent implementations."""

from __future__ import annotations

import numpy as np
import pytest

from transfer_core.kinds.coral import coral
from transfer_core.kinds.kernels import nystrom, rbf
from transfer_core.kinds.optimal_transport import optimal_transport, sinkhorn
from transfer_core.kinds.subspace import subspace
from transfer_core.kinds.tca import tca

pytest.importorskip("sklearn.decomposition")  # whose first import sets variables of the environment


def domains(rows: int = 300, width: int = 5, seed: int = 0):
    """Normal domains with different means and covariances."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(2, width, width))
    source, target = (rng.normal(size=(rows + i * 20, width)) @ mixing[i] + i for i in range(2))
    return source, target


def both(alignment, source, target):
    return alignment.source(source), alignment.target(target) if alignment.target else target


def test_coral_gives_the_source_the_moments_of_the_target():
    source, target = domains()
    moved = coral(source, target, ridge=1e-9).source(source)
    assert np.cov(moved.T) == pytest.approx(np.cov(target.T), rel=1e-4, abs=1e-5)
    assert moved.mean(axis=0) == pytest.approx(target.mean(axis=0))


def test_coral_is_the_papers_closed_form():
    from scipy.linalg import sqrtm

    source, target = domains()
    level = 0.1 * (np.trace(np.cov(source.T)) + np.trace(np.cov(target.T))) / 10
    white = np.linalg.inv(sqrtm(np.cov(source.T) + level * np.eye(5)))
    expected = (source - source.mean(axis=0)) @ white @ sqrtm(np.cov(target.T) + level * np.eye(5))
    found = coral(source, target, ridge=0.1).source(source)
    assert found - target.mean(axis=0) == pytest.approx(expected.real)


def test_coral_of_equal_domains_changes_nothing():
    source, _ = domains()
    assert coral(source, source).source(source) == pytest.approx(source)


def test_subspace_alignment_is_that_of_scikit_learns_components():
    from sklearn.decomposition import PCA

    source, target = domains()
    first, second = (PCA(3).fit(part) for part in (source, target))
    ours = both(subspace(source, target, 3), source, target)
    aligned = first.transform(source) @ first.components_ @ second.components_.T
    for found, expected in zip(ours, (aligned, second.transform(target)), strict=True):
        assert np.abs(found) == pytest.approx(np.abs(expected))  # signs of components are arbitrary
    assert ours[0] @ ours[1].T == pytest.approx(aligned @ second.transform(target).T)


def test_subspaces_of_equal_domains_are_equal():
    source, _ = domains()
    found = both(subspace(source, source, 3), source, source)
    assert found[0] == pytest.approx(found[1])


def test_components_of_transfer_solve_the_papers_problem():
    source, target = domains(30, 4)
    rows = np.concatenate([source, target])
    rows = rows / np.sqrt(np.mean([np.square(part).sum(axis=1).mean() for part in (source, target)]))
    count, sizes = len(rows), (len(source), len(target))
    kernel = rows @ rows.T
    marks = np.concatenate([np.full(sizes[0], 1 / sizes[0]), np.full(sizes[1], -1 / sizes[1])])
    centring = np.eye(count) - 1 / count
    left = kernel @ np.outer(marks, marks) @ kernel + 0.5 * np.eye(count)
    values, vectors = np.linalg.eig(np.linalg.solve(left, kernel @ centring @ kernel))
    best = np.argsort(-values.real)[:2]
    found = np.concatenate(both(tca(source, target, 2, strength=0.5), source, target))
    expected = (kernel @ vectors[:, best]).real
    for ours, theirs in zip(found.T, expected.T, strict=True):
        assert abs(np.corrcoef(ours, theirs)[0, 1]) == pytest.approx(1, abs=1e-6)


def test_components_of_transfer_bring_domains_together():
    source, target = domains(seed=3)
    target = target + 4
    before = np.linalg.norm(source.mean(axis=0) - target.mean(axis=0)) / source.std()
    found = both(tca(source, target, 3, strength=1e-3), source, target)
    after = np.linalg.norm(found[0].mean(axis=0) - found[1].mean(axis=0)) / found[0].std()
    assert after < 0.2 * before


def test_affine_maps_fold_into_a_dense_layer():
    source, target = domains()
    mapped = tca(source, target, 3).target
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(2, 3)), rng.normal(size=2)
    first, shift = mapped.weight_and_bias
    assert target @ (weight @ first).T + weight @ shift + bias == pytest.approx(
        mapped(target) @ weight.T + bias
    )


def test_nystrom_features_of_all_rows_have_the_kernel_as_product():
    source, _ = domains(40)
    kernel = rbf(source, source, 0.1)
    features = kernel @ nystrom(source, 0.1)
    assert features @ features.T == pytest.approx(kernel, abs=1e-4)


def test_a_transport_plan_has_the_marginals():
    cost = np.random.default_rng(0).random((30, 40))
    plan = sinkhorn(cost, 0.1)
    assert plan.sum(axis=1) == pytest.approx(np.full(30, 1 / 30), rel=0.05)
    assert plan.sum(axis=0) == pytest.approx(np.full(40, 1 / 40), rel=0.05)


@pytest.mark.extras
def test_a_transport_plan_is_that_of_pot(monkeypatch):
    for name in ("PYTORCH", "JAX", "CUPY", "TENSORFLOW"):
        monkeypatch.setenv(f"POT_BACKEND_DISABLE_{name}", "1")
    ot = pytest.importorskip("ot")
    cost = np.random.default_rng(0).random((30, 40))
    theirs = ot.sinkhorn(np.full(30, 1 / 30), np.full(40, 1 / 40), cost, 0.1)
    assert sinkhorn(cost, 0.1) == pytest.approx(theirs, rel=0.01, abs=1e-6)


def test_transport_undoes_a_shift():
    rng = np.random.default_rng(0)
    source = rng.normal(size=(200, 2))
    moved = optimal_transport(source, source + 3, regularization=0.005)
    assert np.abs(moved - (source + 3)).mean() < 0.2


def test_transport_of_equal_domains_stays_near():
    source, _ = domains(200)
    moved = optimal_transport(source, source, regularization=1e-3)
    assert np.abs(moved - source).mean() < 0.1 * source.std()


def test_classes_keep_rows_of_different_classes_apart():
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 1], 100)
    source = rng.normal(size=(200, 2)) * 0.8 + np.where(classes == 1, 1.0, -1.0)[:, None] * [1, 0]
    target = source[rng.permutation(200)] + [0.8, 0.8]

    def overlap(moved):
        middle = [moved[classes == one].mean(axis=0) for one in (0, 1)]
        spread = np.mean([moved[classes == one].std() for one in (0, 1)])
        return spread / np.linalg.norm(middle[0] - middle[1])

    assert overlap(optimal_transport(source, target, classes, group=1.0)) < overlap(
        optimal_transport(source, target)
    )


def test_rows_beyond_the_sample_move_with_their_neighbours(monkeypatch):
    monkeypatch.setattr("transfer_core.kinds.optimal_transport._MOST", 150)
    rng = np.random.default_rng(0)
    source = rng.normal(size=(400, 2))
    moved = optimal_transport(source, rng.normal(size=(400, 2)) + 3, regularization=0.01)
    assert moved.mean(axis=0) == pytest.approx([3, 3], abs=0.3)
