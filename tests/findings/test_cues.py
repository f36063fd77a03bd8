"""Tests of single properties, outliers and imbalance against independent calculations."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import binom

from transfer_core.findings.examples import Examples
from transfer_core.findings.imbalance import imbalance
from transfer_core.findings.outliers import neighbour_distances, outliers
from transfer_core.findings.single_feature import binomial_tail, strength_of
from transfer_core.findings.split_groups import shared_groups
from transfer_core.findings.spurious_cues import name_pattern


@pytest.mark.parametrize(
    ("successes", "count", "share"), [(0, 5, 0.3), (7, 10, 0.5), (450, 1000, 0.4), (5, 5, 0.9)]
)
def test_binomial_tail_is_that_of_scipy(successes, count, share):
    assert binomial_tail(successes, count, share) == pytest.approx(
        binom.sf(successes - 1, count, share), rel=1e-9
    )


def test_numbers_and_categories_that_predict():
    rng = np.random.default_rng(0)
    targets = rng.integers(2, size=400)
    for values in (targets * 10 + rng.random(400), [f"v{k}" for k in targets], [k or None for k in targets]):
        found = strength_of(list(values), targets, 0)
        assert found.accuracy > 0.97
        assert found.p_value < 1e-20
    for values in (rng.random(400), list(map(str, range(400))), rng.integers(3, size=400), [1.0] * 400):
        found = strength_of(list(values), targets, 0)
        assert found.p_value > 0.01
        assert found.baseline == pytest.approx(max(targets.mean(), 1 - targets.mean()), abs=0.02)


def test_outliers_by_distance_to_the_third_neighbour():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((60, 8)) * 0.05 + 1
    rows[7] = -1
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    expected = np.sort(cdist(unit, unit), axis=1)[:, 3]
    assert neighbour_distances(rows, 0) == pytest.approx(expected, abs=1e-3)
    examples = Examples(range(60), range(60), ["a"] * 60, [None] * 60, [None] * 60)
    assert [one.input for one in outliers(examples, rows, 0)] == [7]


def test_rare_labels_and_shared_groups():
    found = imbalance({"a": 100, "b": 9, "c": 60, "d": 3})
    assert [one.label for one in found] == ["d", "b"]
    examples = Examples(
        range(4), range(4), ["a"] * 4, ["train", "test", "train", "test"], ["x", "x", "y", None]
    )
    assert [one.detail.split(":")[0] for one in shared_groups(examples)] == [
        'the group "x" is in test and train'
    ]


def test_patterns_of_file_names():
    assert name_pattern("a/IMG_0012.jpg", "a") == name_pattern("a/IMG_7.jpg", "b") == "IMG_#.jpg"
