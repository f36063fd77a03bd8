"""The rows that a head is fitted on."""

import numpy as np

from criteria import Rows
from transfer_core.heads.rows import rows_of
from transfer_core.tasks.criteria import BinaryCrossEntropy, CrossEntropy, SquaredError


def rows(targets, groups=None):
    targets = np.asarray(targets)
    n = len(targets)
    groups = np.arange(n) if groups is None else np.asarray(groups)
    return Rows(np.arange(2.0 * n).reshape(n, 2), targets, np.arange(1.0, n + 1), groups)


def test_views_stand_next_to_each_other():
    features = np.arange(12.0).reshape(6, 2)
    made = rows_of(features, np.array([4, 7]), np.array([1.0, 2.0]), CrossEntropy(), views=3)
    assert made.targets.tolist() == [4, 4, 4, 7, 7, 7]
    assert made.weights.tolist() == [1, 1, 1, 2, 2, 2]
    assert made.groups.tolist() == [0, 0, 0, 1, 1, 1]
    assert np.array_equal(made.features, features)
    values = rows_of(np.ones((2, 3)), np.ones((2, 1), np.float32), np.ones(2), SquaredError())
    assert values.targets.shape == (2, 1)


def test_joined_rows_are_different_examples():
    both = rows([0, 1, 1], [0, 0, 1]).joined(rows([1, 0], [0, 1]))
    assert both.groups.tolist() == [0, 0, 1, 2, 3]
    assert both.targets.tolist() == [0, 1, 1, 1, 0]
    assert rows([0, 1]).take(np.arange(0)).joined(rows([1])).groups.tolist() == [0]


def test_taking_rows():
    some = rows([0, 1, 2], [5, 6, 7]).take(np.array([2, 0]))
    assert (some.targets.tolist(), some.groups.tolist(), some.weights.tolist()) == ([2, 0], [7, 5], [3, 1])
    assert some.features.tolist() == [[4, 5], [0, 1]]
    assert len(some) == 2


def test_label_weights_go_with_their_rows():
    targets, weights = np.array([[True, False], [False, True]]), np.array([[2.0, 1.0], [1.0, 3.0]])
    made = rows_of(np.zeros((4, 1)), targets, weights, BinaryCrossEntropy(), views=2)
    assert made.weights.tolist() == [[2, 1], [2, 1], [1, 3], [1, 3]]
    assert made.take(np.array([3, 0])).joined(made).weights[:2].tolist() == [[1, 3], [2, 1]]
    assert made.example_weights.tolist() == [1, 1, 1, 1]


def test_joined_neighbours_are_not_copied():
    features = np.arange(12.0).reshape(6, 2)
    above, below = (
        rows_of(part, np.zeros(len(part), np.int64), np.ones(len(part)), CrossEntropy())
        for part in (features[:4], features[4:])
    )
    both = above.joined(below)
    assert np.array_equal(both.features, features)
    assert np.shares_memory(both.features, features)
    turned = below.joined(above)
    assert np.array_equal(turned.features, np.concatenate([features[4:], features[:4]]))
