"""Calibration of a detector: scores, thresholds and margins."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from transfer_core.data.boxes import boxes_of, detections_of
from transfer_core.metrics.box_calibration import (
    calibrated,
    fit_scores,
    fit_thresholds,
    grown,
    held_out,
    margins,
)
from transfer_core.metrics.conformal import conformal_quantile


def test_slope_and_offset_equal_a_logistic_regression():
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.01, 0.99, 4000)
    logit = np.log(scores / (1 - scores))
    right = rng.random(4000) < 1 / (1 + np.exp(-(0.6 * logit - 1.0)))
    slope, offset = fit_scores(scores, right)
    known = LogisticRegression(C=np.inf, tol=1e-10).fit(logit[:, None], right)
    # Platt's smoothed targets differ from 0 and 1 by 1 / (count + 2).
    assert (slope, offset) == pytest.approx((known.coef_[0, 0], known.intercept_[0]), abs=5e-3)
    assert calibrated(scores, slope, offset).mean() == pytest.approx(right.mean(), abs=1e-3)


@pytest.mark.parametrize("right", [[True] * 5, [False] * 5, []])
def test_scores_stay_where_nothing_can_be_fitted(right):
    scores = np.linspace(0, 1, len(right))
    assert fit_scores(scores, right) == (1.0, 0.0)
    assert calibrated(scores, 1.0, 0.0).tolist() == scores.tolist()


def test_the_order_of_scores_is_kept():
    slope, offset = fit_scores([0.1, 0.2, 0.3, 0.9, 1.0, 0.0], [True, True, True, False, False, True])
    assert slope >= 0
    assert np.isfinite(calibrated([0.0, 0.5, 1.0], slope, offset)).all()


def test_thresholds_maximize_f1():
    truth = [boxes_of([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]], [0, 0, 1])]
    corners = [[0, 0, 10, 10], [60, 0, 70, 10], [20, 0, 30, 10], [80, 0, 90, 10]]
    found = held_out([detections_of(corners, [0, 0, 0, 0], [0.9, 0.6, 0.5, 0.1])], truth, 3)
    # Of the first class 2 of 3 at 0.5 and above are right: F1 is 0.8, and 2/3 if only the first is taken.
    assert fit_thresholds(found) == pytest.approx([0.3, 0.5, 0.5])
    assert found.objects.tolist() == [2, 1, 0]


def test_margins_cover_new_objects():
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(200):
        at = rng.uniform(0, 100, (400, 2))
        true = np.hstack([at, at + rng.uniform(20, 60, (400, 2))])
        predicted = true + rng.normal(0, 3, (400, 4))
        quantile = conformal_quantile(margins(predicted[:200], true[:200]), 0.9)
        outer = grown(predicted[200:], quantile)
        within = (outer[:, :2] <= true[200:, :2]) & (outer[:, 2:] >= true[200:, 2:])
        covered.append(within.all(axis=1).mean())
    assert 0.89 < np.mean(covered) < 0.915


def test_crowds_are_not_counted():
    truth = [boxes_of([[0, 0, 100, 100], [200, 200, 210, 210]], [0, 0], crowd=[True, False])]
    found = held_out([detections_of([[10, 10, 20, 20], [200, 200, 210, 210]], [0, 0], [0.9, 0.8])], truth, 1)
    assert (found.scores.tolist(), found.right.tolist(), found.objects.tolist()) == ([0.8], [True], [1])
