"""Every number against scikit-learn, on ordinary, tiny and constant data."""

import json

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.dummy import DummyRegressor

from transfer_core.metrics import regression_metrics
from transfer_core.metrics.bootstrap import resampled_counts


def drawn(n, outputs, noise, seed=0, scale=1.0, shift=0.0):
    rng = np.random.default_rng(seed)
    targets = rng.normal(size=(n, outputs)) * scale + shift
    return targets + noise * scale * rng.normal(size=(n, outputs)), targets


CASES = {
    "one output": drawn(200, 1, 0.5),
    "three outputs": drawn(150, 3, 1.5),
    "far from zero": drawn(200, 2, 0.3, shift=1e6, scale=0.1),
    "two examples": drawn(2, 2, 1.0),
    "perfect": (drawn(20, 2, 0.0)[1],) * 2,
    "constant targets": (drawn(20, 1, 1.0)[0], np.full((20, 1), 4.0)),
    "constant targets, perfect": (np.full((20, 1), 4.0),) * 2,
    "one of two constant": (np.ones((3, 2)), np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request):
    return request.param


def measured(case, train_targets=None, seed=0):
    predictions, targets = case
    names = [f"output {k}" for k in range(targets.shape[1])]
    return regression_metrics(
        predictions, targets, names, targets if train_targets is None else train_targets, seed
    )


def close(value):
    return pytest.approx(value, rel=1e-9, abs=1e-12)


def test_the_overall_numbers_are_those_of_scikit_learn(case):
    predictions, targets = case
    result = measured(case)
    assert result["r2"] == close(sk.r2_score(targets, predictions))
    assert result["mae"] == close(sk.mean_absolute_error(targets, predictions))
    assert result["rmse"] == close(sk.root_mean_squared_error(targets, predictions))
    assert result["examples"] == len(targets)


def test_the_numbers_per_output_are_those_of_scikit_learn(case):
    predictions, targets = case
    rows = measured(case)["per_output"]
    assert [row["name"] for row in rows] == [f"output {k}" for k in range(targets.shape[1])]
    for key, score in (
        ("r2", sk.r2_score),
        ("mae", sk.mean_absolute_error),
        ("rmse", sk.root_mean_squared_error),
    ):
        expected = score(targets, predictions, multioutput="raw_values")
        assert [row[key] for row in rows] == close(expected.tolist())


def test_the_baseline_is_the_dummy_regressor_of_scikit_learn(case):
    _, targets = case
    train_targets = drawn(30, targets.shape[1], 0, seed=5)[1]
    answers = DummyRegressor(strategy="mean").fit(np.zeros((30, 1)), train_targets).predict(targets)
    assert measured(case, train_targets)["baseline"] == {
        "mae": close(sk.mean_absolute_error(targets, answers.reshape(targets.shape))),
        "rmse": close(sk.root_mean_squared_error(targets, answers.reshape(targets.shape))),
    }


def test_everything_survives_json_and_nothing_is_nan(case):
    result = measured(case)
    assert json.loads(json.dumps(result, allow_nan=False)) == result


@pytest.mark.parametrize(("answer", "r2"), [(3.0, 1.0), (2.5, 0.0)])
def test_one_example_counts_as_constant_targets(answer, r2):
    result = measured((np.array([[answer]]), np.array([[3.0]])))
    assert (result["r2"], result["mae"]) == (r2, 3.0 - answer)
    assert result["intervals"]["r2"] == [r2, r2]


@pytest.mark.parametrize("n", [3, 7, 100, 1001])
def test_targets_whose_mean_is_rounded_are_still_constant(n):
    result = measured((np.full((n, 1), 0.2), np.full((n, 1), 0.1)))
    assert result["r2"] == 0.0
    assert result["intervals"]["r2"] == [0.0, 0.0]


@pytest.mark.parametrize("first", [0.0, 0.1, 0.3])
def test_resamples_with_one_distinct_target_have_an_r2_of_0(first):
    targets = np.array([[first], [1.0], [first]])
    intervals = measured((targets + 0.01, targets))["intervals"]
    assert intervals["r2"][0] == 0.0
    assert intervals["r2"][1] < 1.0


def test_intervals_are_those_of_scikit_learn_on_the_same_resamples():
    predictions, targets = drawn(60, 2, 0.8)
    r2, mae, rmse = [], [], []
    for counts in resampled_counts(np.arange(60), seed=7):
        for rows in (np.repeat(np.arange(60), times) for times in counts):
            r2.append(sk.r2_score(targets[rows], predictions[rows]))
            mae.append(sk.mean_absolute_error(targets[rows], predictions[rows]))
            rmse.append(sk.root_mean_squared_error(targets[rows], predictions[rows]))
    intervals = measured((predictions, targets), seed=7)["intervals"]
    assert len(r2) == 1000
    for name, values in (("r2", r2), ("mae", mae), ("rmse", rmse)):
        assert intervals[name] == close(np.percentile(values, [2.5, 97.5]).tolist())


def test_about_95_of_100_intervals_contain_the_true_error():
    rng = np.random.default_rng(3)
    covered = 0
    for seed in range(200):
        errors = rng.uniform(0, 2, size=(150, 1))  # the true mean absolute error is 1
        low, high = measured((errors, np.zeros((150, 1))), seed=seed)["intervals"]["mae"]
        covered += low <= 1 <= high
    assert 180 <= covered <= 199


def test_the_same_seed_gives_the_same_intervals_and_another_seed_others():
    case = CASES["one output"]
    assert measured(case, seed=3) == measured(case, seed=3)
    assert measured(case, seed=3)["intervals"] != measured(case, seed=4)["intervals"]


@pytest.mark.parametrize(
    ("predictions", "targets", "message"),
    [
        ([1.0, 2.0], [[1.0], [2.0]], "predictions must have the shape (N, 1), got (2,)"),
        ([[1.0]], [[1.0, 2.0]], "targets must have the shape (N, 1), got (1, 2)"),
        ([[np.inf]], [[1.0]], "predictions must be finite numbers, got NaN or infinity in 1 of 1 rows"),
        ([[1.0], [2.0]], [[1.0]], "one target per prediction is needed, got 1 for 2"),
    ],
)
def test_a_wrong_argument_is_named(predictions, targets, message):
    with pytest.raises(ValueError) as raised:  # noqa: PT011 the whole message is compared
        regression_metrics(predictions, targets, ["age"], [[1.0]], 0)
    assert str(raised.value) == message
