"""The default head over shards of its features, compared with the head on one array and with scikit-learn."""

import tracemalloc

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from criteria import Rows
from transfer_core.heads.coordinates import coordinates_of
from transfer_core.heads.cross_validated import fit_linear
from transfer_core.heads.linear_problem import linear_problems
from transfer_core.heads.scaling import scalings
from transfer_core.heads.shards import LocalShards, ShardedFeatures
from transfer_core.runtime.progress import Progress


def drawn(kind, n=600, width=12, outputs=3):
    rng = np.random.default_rng(1)
    targets = np.concatenate([np.arange(outputs), rng.integers(outputs, size=n - outputs)])
    centres = rng.normal(size=(outputs, width))
    features = (centres[targets] + rng.normal(size=(n, width)) * np.linspace(1, 4, width)).astype(np.float32)
    if kind == "values":
        targets = (features[:, :outputs] + rng.normal(size=(n, outputs))).astype(np.float32)
    elif kind == "labels":
        targets = features[:, :outputs] + rng.normal(size=(n, outputs)) > 1
    weights = rng.uniform(0.2, 3, (n, outputs) if kind == "labels" else n).astype(np.float32)
    return Rows(features, targets, weights, np.arange(n))


def sharded(rows, *ends):
    """The same rows with features in shards that end there."""
    features = ShardedFeatures(LocalShards(np.split(rows.features, ends)))
    return Rows(features, rows.targets, rows.weights, rows.groups)


def fitted(rows, outputs=3):
    return fit_linear(rows, outputs, 5, 0, Progress())


@pytest.mark.parametrize("kind", ["classes", "values", "labels"])
@pytest.mark.parametrize("n", [600, 40])
def test_shards_give_the_head_of_one_array(kind, n):
    rows = drawn(kind, n)
    expected, fit = fitted(rows), fitted(sharded(rows, n // 10, n // 2))
    assert fit.strength == expected.strength
    for path, other in zip(fit.path, expected.path, strict=True):
        assert path == pytest.approx(other, rel=1e-5)
    np.testing.assert_allclose(fit.weight, expected.weight, atol=2e-3 * np.abs(expected.weight).max())
    np.testing.assert_allclose(fit.held_out, expected.held_out, atol=0.02)
    assert fit.held_out_rows.tolist() == expected.held_out_rows.tolist()


@pytest.mark.parametrize("kind", ["classes", "values", "labels"])
def test_the_optimum_is_that_of_one_array(kind):
    """To 1e-6 of the loss, penalty included, and below scikit-learn's for classes."""
    rows, strength = drawn(kind), 0.01
    shards = sharded(rows, 100, 101, 350)
    found = []
    for given in (rows, shards):
        at = coordinates_of(given.features, scalings(given.features)[0], 3)
        problems = linear_problems(given, at, given.example_weights[None], 3, lambda: None)
        layer = problems.solve(strength, problems.zeros(), 1e-9)
        assert (at.x is shards.features) == (given is shards)
        found.append(at.on_features(layer[0, :, :-1], layer[0, :, -1]))

    def loss(weight, bias):
        each = rows.criterion.losses(rows.features @ weight.T + bias, rows.targets, rows.weights)
        scaled = weight * scalings(rows.features)[0].scale
        total = rows.weights.sum() if rows.weights.ndim == 1 else rows.weights.mean() * len(rows)
        factor = {"classes": 1, "values": 3 / 2, "labels": 3}[kind]
        return factor * each.sum(dtype=np.float64) / total + 0.5 * strength * np.square(scaled).sum()

    one, many = (loss(*layer) for layer in found)
    assert many == pytest.approx(one, rel=1e-6)
    if kind == "classes":
        mean, scale = scalings(rows.features)[0]
        z = (rows.features - mean) / scale
        exact = LogisticRegression(C=1 / (strength * rows.weights.sum()), tol=1e-10, max_iter=1000)
        exact.fit(z, rows.targets, rows.weights)
        best = loss(exact.coef_ / scale, exact.intercept_ - (exact.coef_ / scale) @ mean)
        assert many == pytest.approx(best, rel=1e-6)


def test_memory_is_bounded_by_a_part_of_the_features(tmp_path):
    n, width = 24_000, 256
    rng = np.random.default_rng(0)
    targets = rng.integers(2, size=n)
    paths = []
    for number, own in enumerate(np.split(targets, 4)):
        features = rng.normal(size=(len(own), width)).astype(np.float32) + 0.3 * own[:, None]
        paths.append(tmp_path / f"{number}.npy")
        np.save(paths[-1], features)
        del features
    shards = ShardedFeatures(LocalShards([np.load(path, mmap_mode="r") for path in paths]))
    weights = np.ones(n, np.float32)
    tracemalloc.start()
    at = coordinates_of(shards, scalings(shards)[0], 2)
    rows = Rows(shards, targets, weights, np.arange(n))
    problems = linear_problems(rows, at, weights[None], 2, lambda: None)
    layer = problems.solve(0.01, problems.zeros(), 1e-3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.isfinite(layer).all()
    assert peak < 0.4 * shards.size * shards.itemsize


def test_rows_are_gathered_in_the_given_order():
    features = np.arange(24, dtype=np.float32).reshape(8, 3)
    shards = ShardedFeatures(LocalShards(np.split(features, [2, 2, 7])))
    for rows in (np.array([7, 0, 3, 3]), slice(1, 8, 3), slice(None), np.arange(0)):
        np.testing.assert_array_equal(shards[rows], features[rows])
    assert (len(shards), shards.shape, shards.size) == (8, (8, 3), 24)
