"""Selection of inputs to label, through the public method."""

import numpy as np
import pytest
import sklearn.preprocessing  # noqa: F401  its first import changes the environment

import transfer_core
from transfer_core.runtime.errors import DataError, RecipeError

CENTERS = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])


def cells(point):
    return {"x": float(point[0]), "y": float(point[1])}


def rows(count, seed=0):
    rng = np.random.default_rng(seed)
    return [
        {"input": cells(CENTERS[k] + 0.7 * rng.standard_normal(2)), "label": "abc"[k]}
        for k in np.arange(count) % 3
    ]


@pytest.fixture(scope="module")
def model():
    return transfer_core.train(backbone="sklearn:StandardScaler", data=rows(90))


@pytest.fixture(scope="module")
def pool():
    """A grid over all classes: its middle is between them."""
    return [cells((x, y)) for x in np.linspace(-2, 6, 9) for y in np.linspace(-2, 6, 9)]


def test_margin_selects_inputs_whose_best_two_classes_are_close(model, pool):
    found = model.select(pool, count=10)
    assert found.method == "margin"
    assert found.considered == len(pool)
    margins = []
    for one in model.predict(pool):
        best, second = sorted(one["scores"].values(), reverse=True)[:2]
        margins.append(1 - best + second)
    expected = np.argsort(-np.array(margins), kind="stable")[:10]
    assert {one.index for one in found.inputs} == set(expected.tolist())
    assert found.inputs[0].score == pytest.approx(max(margins))
    assert all(one.input == pool[one.index] for one in found.inputs)


@pytest.mark.parametrize("method", ["uncertainty", "core_set", "badge", "random"])
def test_each_method_ranks_distinct_inputs(model, pool, method):
    found = model.select(pool, count=7, method=method)
    assert found.method == method
    assert len({one.index for one in found.inputs}) == 7
    assert found.to_dict()["inputs"][0]["input"] == found.inputs[0].input


def test_core_set_keeps_away_from_labelled_inputs(model):
    near, far = cells((0.01, 0.01)), cells((20, 20))
    found = model.select([near, far], count=1, method="core_set", labelled=[cells((0, 0)), cells((4, 0))])
    assert [one.input for one in found.inputs] == [far]


def test_near_duplicates_are_selected_once_and_never_of_labelled_ones(tmp_path):
    texts = [{"input": f"{word} number {n}", "label": word} for n in range(12) for word in ("good", "bad")]
    of_texts = transfer_core.train(backbone="sklearn:TfidfVectorizer", data=texts, task="classification")
    copies = [
        "a longer sentence about good and bad things of the world",
        "A longer sentence about good and bad things of the world!",
        "another sentence that is not like the first one at all",
        "the third sentence which has been labelled by someone before",
    ]
    found = of_texts.select(copies, count=5, labelled=[copies[3].upper()])
    assert {one.index for one in found.inputs} == {0, 2}
    assert found.considered == 2


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ({"method": "marign"}, RecipeError, 'method: unknown method "marign", did you mean "margin"'),
        ({"count": 0}, RecipeError, "count: expected a number of inputs, at least 1"),
        ({"unlabelled": "/nowhere"}, DataError, "does not exist"),
        ({"unlabelled": [{"x": 1.0}]}, DataError, 'input has no "y"'),
    ],
)
def test_wrong_words_are_explained(model, pool, words, error, message):
    with pytest.raises(error, match=message):
        model.select(**{"unlabelled": pool, **words})


def test_a_regression_is_covered_not_uncertain(pool):
    numbers = [{"input": cells((x, x)), "label": 2.0 * x} for x in range(40)]
    of_numbers = transfer_core.train(backbone="sklearn:StandardScaler", data=numbers, task="regression")
    assert of_numbers.select(pool, count=2).method == "core_set"
    with pytest.raises(RecipeError, match='method: "margin" is not for a model of regression'):
        of_numbers.select(pool, method="margin")
