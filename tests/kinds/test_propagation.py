"""Label propagation against its closed form, and on clusters whose labels the source confuses."""

import numpy as np
import pytest

from transfer_core.kinds.linear import fit_softmax
from transfer_core.kinds.propagation import neighbor_graph, propagated, propagation


def test_spreading_converges_to_the_closed_form():
    rng = np.random.default_rng(0)
    affinity = neighbor_graph(rng.normal(size=(30, 4)), 5)
    scores = rng.dirichlet(np.ones(3), 30)
    solved = np.linalg.solve(np.eye(30) - 0.5 * affinity, 0.5 * scores)
    expected = solved / solved.sum(axis=1, keepdims=True)
    assert propagated(affinity, scores, 0.5) == pytest.approx(expected, abs=1e-6)


def test_the_graph_is_symmetric_without_loops():
    affinity = neighbor_graph(np.random.default_rng(0).normal(size=(20, 3)), 4)
    assert affinity == pytest.approx(affinity.T, abs=1e-12)
    assert (np.diag(affinity) == 0).all()
    assert np.linalg.eigvalsh(affinity).max() == pytest.approx(1, abs=1e-6)
    assert ((affinity > 0).sum(axis=1) >= 1).all()


def test_clusters_of_the_target_get_one_label():
    rng = np.random.default_rng(0)
    classes = rng.integers(3, size=150)
    source = np.eye(3, 6)[classes] * 3 + rng.normal(size=(150, 6))
    truth = rng.integers(3, size=150)
    target = np.eye(3, 6)[truth] * 3 + 1.2 * np.array([1, -1, 0, 2, 0, 0]) + 0.4 * rng.normal(size=(150, 6))
    before = (fit_softmax(source, classes, 3).outputs(target).argmax(axis=1) == truth).mean()
    found = propagation(source, classes, target, 3)
    after = (found.outputs(target).argmax(axis=1) == truth).mean()
    assert after > before
    assert after > 0.95


def test_more_rows_than_the_graph_holds_are_sampled(monkeypatch):
    monkeypatch.setattr("transfer_core.kinds.propagation._MOST", 40)
    rng = np.random.default_rng(0)
    classes = np.arange(60) % 2
    source = classes[:, None] * 4 + rng.normal(size=(60, 3))
    model = propagation(source, classes, source + 0.5, 2)
    assert (model.outputs(source + 0.5).argmax(axis=1) == classes).mean() > 0.95
