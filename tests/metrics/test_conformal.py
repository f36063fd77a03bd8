"""What is promised at a level, held against what happens: exact by enumeration, and on drawn data."""

import math

import numpy as np
import pytest

from transfer_core.metrics.bootstrap import resampled_counts
from transfer_core.metrics.conformal import (
    MAX_SCORES,
    calibration_rows,
    class_scores,
    conformal_quantile,
    in_set,
    interval_metrics,
    min_held_out,
    set_metrics,
    value_scores,
)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("n", [1, 4, 9, 19, 99, 100, 250])
def test_the_quantile_is_the_order_statistic_of_the_theorem(n, level):
    """With n + 1 exchangeable distinct numbers, each rank of the last one has the probability 1 / (n + 1)."""
    ranked = [float(i) for i in range(1, n + 1)]
    found = conformal_quantile(ranked, level)
    if n < min_held_out(level):
        assert found is None
        return
    # The new number is at most the k-th smallest of the others if its rank among all is at most k.
    coverage = found / (n + 1)
    assert level - 1e-9 <= coverage < level + 1 / (n + 1)


@pytest.mark.parametrize("level", [0.1, 1e-12, 1e-300])
def test_a_tiny_level_takes_the_smallest_distance(level):
    assert min_held_out(level) == 1
    assert conformal_quantile([1.0, 2.0], level) == 1.0
    assert conformal_quantile([], level) is None


def test_the_fewest_examples_for_a_level():
    for level in (0.5, 0.9, 0.95, 0.99, 0.999):
        n = min_held_out(level)
        assert conformal_quantile([0.0] * n, level) is not None
        assert conformal_quantile([0.0] * (n - 1), level) is None
    assert (min_held_out(0.9), min_held_out(0.95), min_held_out(0.99)) == (9, 19, 99)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_sets_hold_the_truth_as_often_as_promised(level):
    """Mean over 200 draws of 60 calibrating and 60 new examples, of a model that is wrong about its doubt."""
    rng = np.random.default_rng(0)
    coverage = []
    for _ in range(200):
        truth = rng.integers(4, size=120)
        logits = 3 * (rng.normal(size=(120, 4)) + np.eye(4)[truth])
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        found = set_metrics(p[60:], truth[60:], [class_scores(p[:60], truth[:60])], 0, level)
        coverage.append(found["coverage"])
        assert 1 <= found["mean_size"] <= 4
    # 60 of 61 ranks; the most probable class, which is always in the set, adds to it.
    assert math.ceil(61 * level) / 61 - 0.01 < np.mean(coverage) < level + 0.04


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_intervals_hold_the_value_as_often_as_promised(level):
    rng = np.random.default_rng(0)
    coverage = []
    for _ in range(200):
        error = rng.standard_t(3, size=(120, 2)) * [1, 100]
        distances = value_scores(error[:60], np.zeros((60, 2)))
        found = interval_metrics(error[60:], np.zeros((60, 2)), ["a", "b"], distances, 0, level)
        coverage.append([row["coverage"] for row in found["per_output"]])
    expected = math.ceil(61 * level) / 61
    assert np.mean(coverage, axis=0) == pytest.approx([expected, expected], abs=0.012)


def test_a_set_is_what_is_within_the_quantile_and_never_empty():
    probabilities = np.array([[0.6, 0.3, 0.1], [0.4, 0.35, 0.25]])
    assert in_set(probabilities, 0.7).tolist() == [[True, True, False], [True, True, False]]
    assert in_set(probabilities, 0.3).tolist() == [[True, False, False], [True, False, False]]


def test_distances_are_sorted_and_from_the_truth():
    p = np.array([[0.9, 0.1], [0.3, 0.7], [0.2, 0.8]])
    assert class_scores(p, np.array([0, 0, 1])) == pytest.approx([0.1, 0.2, 0.7])
    assert value_scores(np.array([[1.0, 5.0], [2.0, 1.0]]), np.array([[4.0, 5.0], [0.0, 3.0]])) == [
        [2.0, 3.0],
        [0.0, 2.0],
    ]


def test_metrics_by_hand():
    p = np.array([[0.8, 0.2], [0.55, 0.45], [0.1, 0.9]])
    found = set_metrics(p, np.array([0, 1, 0]), [[i / 10 for i in range(1, 10)]], 0, 0.6)
    low, high = found.pop("interval")
    assert low == 0.0
    assert high == 1.0
    assert found == {"level": 0.6, "coverage": 2 / 3, "mean_size": 4 / 3, "calibrated_on": 9}
    values = interval_metrics(
        np.array([[0.0], [0.0]]), np.array([[0.4], [-0.8]]), ["x"], [[0.1, 0.5, 0.9]], 0, 0.5
    )
    assert values["per_output"] == [{"name": "x", "coverage": 0.5, "width": 1.0}]
    assert (values["coverage"], values["calibrated_on"]) == (0.5, 3)


def test_nothing_is_said_on_too_few_examples():
    for distances in ([], [[0.1] * 8]):
        assert set_metrics(np.array([[1.0, 0.0]]), np.array([0]), distances, 0) == {}
        assert interval_metrics(np.zeros((1, 1)), np.zeros((1, 1)), ["x"], distances, 0) == {}


def test_the_interval_of_the_coverage_is_a_bootstrap_of_its_examples():
    error = np.array([[0.1, 9.0]] * 30 + [[0.1, 0.1]] * 50 + [[9.0, 9.0]] * 20)
    found = interval_metrics(error, np.zeros_like(error), ["a", "b"], [[1.0] * 9] * 2, 3)
    covered = (error <= 1).mean(axis=1)
    drawn = [counts @ covered / 100 for counts in resampled_counts(np.arange(100), 3)]
    assert found["coverage"] == pytest.approx(covered.mean())
    assert found["interval"] == pytest.approx(np.percentile(np.concatenate(drawn), [2.5, 97.5]), abs=0.02)


@pytest.mark.parametrize("count", [0, 1, MAX_SCORES, MAX_SCORES + 1, 10 * MAX_SCORES + 7])
def test_enough_rows_from_everywhere(count):
    rows = calibration_rows(count)
    assert min(count, MAX_SCORES // 2) < max(1, len(rows)) + 1
    assert len(rows) <= MAX_SCORES
    assert len(set(np.diff(rows))) <= 1
    assert count == 0 or count - rows[-1] <= -(-count // MAX_SCORES)
