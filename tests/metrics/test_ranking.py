"""Ranking measures against scikit-learn, with and without ties."""

import warnings

import numpy as np
import pytest
from sklearn import metrics as sk

from transfer_core.metrics.ranking import (
    average_precision,
    label_ranking_average_precision,
    ranking,
    ranking_loss,
    resampled_average_precision,
)


def drawn(lists, items, share, levels=None, seed=0):
    """Scores (R, M), of only so many different values if `levels` is given, and what is relevant."""
    rng = np.random.default_rng(seed)
    relevant = rng.random((lists, items)) < share
    scores = rng.normal(size=(lists, items)) + relevant
    return (scores if levels is None else np.round(scores * levels) / levels), relevant


CASES = {
    "ordinary": drawn(20, 50, 0.3),
    "ties": drawn(30, 12, 0.4, levels=2),
    "all tied": (np.zeros((5, 6)), drawn(5, 6, 0.5)[1]),
    "rare": drawn(40, 30, 0.03),
    "nearly all": drawn(40, 8, 0.95),
    "one item": drawn(6, 1, 0.5),
    "one list": drawn(1, 9, 0.5, levels=1),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request):
    return request.param


def close(value):
    return pytest.approx(value, rel=1e-9, abs=1e-12)


def test_average_precision_is_that_of_scikit_learn(case):
    scores, relevant = case
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lists without anything relevant
        expected = [sk.average_precision_score(*pair) for pair in zip(relevant, scores, strict=True)]
    assert average_precision(ranking(scores, relevant)).tolist() == close(expected)


@pytest.mark.parametrize("case", [case for case in CASES.values() if case[0].shape[1] > 1])
def test_measures_along_labels_are_those_of_scikit_learn(case):
    scores, relevant = case
    ranked = ranking(scores, relevant)
    assert label_ranking_average_precision(ranked).mean() == close(
        sk.label_ranking_average_precision_score(relevant, scores)
    )
    assert ranking_loss(ranked).mean() == close(sk.label_ranking_loss(relevant, scores))


def test_one_label_can_not_be_ranked_wrongly():
    ranked = ranking(np.array([[0.3], [0.6]]), np.array([[True], [False]]))
    assert label_ranking_average_precision(ranked).tolist() == [1, 1]
    assert ranking_loss(ranked).tolist() == [0, 0]


def test_resamples_are_measured_as_if_each_were_a_data_set(case):
    scores, relevant = case
    rng = np.random.default_rng(1)
    rows = rng.integers(scores.shape[1], size=(25, scores.shape[1]))
    counts = np.stack([np.bincount(row, minlength=scores.shape[1]) for row in rows])
    expected = [average_precision(ranking(scores[:, row], relevant[:, row])) for row in rows]
    found = resampled_average_precision(ranking(scores, relevant), counts)
    np.testing.assert_allclose(found, expected, atol=1e-12)
