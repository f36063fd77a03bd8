"""The chosen thresholds against every threshold there is, measured by scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from transfer_core.metrics.thresholds import best_thresholds


def drawn(n, labels, share, levels=None, seed=0):
    rng = np.random.default_rng(seed)
    targets = rng.random((n, labels)) < share
    scores = 1 / (1 + np.exp(-rng.normal(size=(n, labels)) - targets))
    return (scores if levels is None else np.round(scores * levels) / levels), targets


@pytest.mark.parametrize(
    "case", [drawn(60, 4, 0.3), drawn(80, 3, 0.1, levels=6), drawn(5, 3, 0.6), drawn(1, 1, 1)]
)
def test_no_threshold_has_a_higher_f1(case):
    scores, targets = case
    thresholds = best_thresholds(scores, targets)
    assert targets.any()
    for k, threshold in enumerate(thresholds):
        reached = f1_score(targets[:, k], scores[:, k] >= threshold, zero_division=0)
        others = [f1_score(targets[:, k], scores[:, k] >= edge, zero_division=0) for edge in scores[:, k]]
        assert reached == pytest.approx(max(others) if targets[:, k].any() else 0)


def test_it_stands_in_the_middle_of_the_gap():
    assert best_thresholds([[0.9], [0.5], [0.3]], [[1], [1], [0]]).tolist() == pytest.approx([0.4])
    assert best_thresholds([[0.9], [0.5], [0.3]], [[1], [1], [1]]).tolist() == pytest.approx([0.15])
    assert best_thresholds([[0.9], [0.5], [0.5]], [[1], [0], [0]]).tolist() == pytest.approx([0.7])


def test_equal_scores_are_said_together():
    # One of three examples at 0.5 has the label: all three or none.
    thresholds = best_thresholds([[0.5], [0.5], [0.5], [0.1]], [[1], [0], [0], [0]])
    assert thresholds.tolist() == pytest.approx([0.3])


def test_a_label_that_no_example_has():
    assert best_thresholds([[0.9, 0.2], [0.8, 0.1]], [[0, 1], [0, 0]]).tolist() == pytest.approx([0.5, 0.15])
