"""Learning curves through the public function, on data with a known answer."""

import numpy as np
import pytest
import sklearn.preprocessing  # noqa: F401  its first import changes the environment

import transfer_core
from transfer_core.runtime.errors import DataError, RecipeError


def rows(count, seed=0):
    """Three classes in forty dimensions; the first is clear, the others need many examples."""
    rng = np.random.default_rng(seed)
    centers = np.zeros((3, 40))
    centers[0] = 1.0
    centers[1, :10], centers[2, :10] = 0.5, -0.5
    return [
        {
            "input": {f"x{i}": float(v) for i, v in enumerate(centers[k] + rng.standard_normal(40))},
            "label": "abc"[k],
        }
        for k in (np.arange(count) % 3)
    ]


def test_it_rises_and_predicts_what_more_data_give():
    few, all_of_it = rows(300), rows(2400)
    curve = transfer_core.learning_curve(data=few, backbone="sklearn:StandardScaler")
    sizes = [point.examples for point in curve.measured]
    assert curve.metric == "accuracy"
    assert sizes == sorted(sizes)
    assert sizes[-1] == 240
    assert curve.measured[-1].value > curve.measured[0].value
    assert all(point.low <= point.value <= point.high for point in (*curve.measured, *curve.forecast))
    larger = transfer_core.train(backbone="sklearn:StandardScaler", data=all_of_it).metrics["accuracy"]
    last = curve.forecast[-1]
    assert last.examples == 1920
    assert last.low - 0.05 <= larger <= last.high + 0.05


def test_the_labels_that_overlap_gain_the_most():
    labels = transfer_core.learning_curve(data=rows(240), backbone="sklearn:StandardScaler", more=100).labels
    assert [entry.label for entry in labels][-1] == "a"
    assert labels[0].gain > labels[-1].gain >= 0
    assert {entry.more for entry in labels} == {100}


@pytest.mark.parametrize(
    ("count", "words", "error", "message"),
    [
        (12, {}, DataError, "a learning curve needs 20 training examples"),
        (60, {"more": 0}, RecipeError, "more: expected a number of examples"),
        (60, {"split": {"test": 0}}, DataError, "test examples"),
    ],
)
def test_what_is_lacking_is_explained(count, words, error, message):
    with pytest.raises(error, match=message):
        transfer_core.learning_curve(data=rows(count), backbone="sklearn:StandardScaler", **words)
