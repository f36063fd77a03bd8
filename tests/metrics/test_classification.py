"""Every number against scikit-learn, on ordinary, tiny, lopsided and degenerate data."""

import json

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.dummy import DummyClassifier

from transfer_core.metrics import classification_metrics
from transfer_core.metrics.bootstrap import resampled_counts
from work import python_calls


def sharpened(rng, targets, classes, sharpness):
    """Probabilities (N, C) that favour the truth the more, the larger `sharpness`."""
    logits = rng.normal(size=(len(targets), classes))
    logits[np.arange(len(targets)), targets] += sharpness
    weights = np.exp(logits)
    return weights / weights.sum(axis=1, keepdims=True)


def drawn(n, classes, sharpness, shares=None, seed=0):
    rng = np.random.default_rng(seed)
    targets = rng.choice(classes, size=n, p=shares)
    return sharpened(rng, targets, classes, sharpness), targets, classes


def one_hot(answers, classes):
    return np.eye(classes)[answers]


CASES = {
    "good": drawn(400, 8, 2.5),
    "chance": drawn(300, 10, 0.0),
    "two classes": drawn(50, 2, 1.0),
    "lopsided": drawn(500, 4, 1.0, [0.94, 0.03, 0.02, 0.01]),
    "class absent from the targets": (
        sharpened(np.random.default_rng(1), [0, 1] * 20, 3, 0.5),
        [0, 1] * 20,
        3,
    ),
    "class never predicted": (one_hot([0, 0, 1, 1, 0], 3), [0, 2, 1, 2, 0], 3),
    "class in neither": (one_hot([0, 1, 1], 4), [0, 1, 0], 4),
    "one example, right": (np.array([[0.2, 0.8]]), [1], 2),
    "one example, wrong": (np.array([[0.2, 0.8]]), [0], 2),
    "one class": (np.ones((3, 1)), [0, 0, 0], 1),
    "perfect": (one_hot([0, 1, 2, 2, 1, 0], 3), [0, 1, 2, 2, 1, 0], 3),
    "all wrong": (one_hot([1, 2, 0, 0], 3), [0, 1, 2, 1], 3),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request):
    probabilities, targets, classes = request.param
    return np.asarray(probabilities), np.asarray(targets), [f"class {i}" for i in range(classes)]


def measured(case, train_targets=(0,), seed=0):
    probabilities, targets, labels = case
    return classification_metrics(probabilities, targets, labels, np.asarray(train_targets), seed)


def close(value):
    return pytest.approx(value, rel=1e-12, abs=1e-12)


def test_the_overall_numbers_are_those_of_scikit_learn(case):
    probabilities, targets, labels = case
    answers = probabilities.argmax(axis=1)
    result = measured(case)
    recalls = sk.recall_score(targets, answers, labels=np.unique(targets), average="macro", zero_division=0)
    assert result["accuracy"] == close(sk.accuracy_score(targets, answers))
    assert result["balanced_accuracy"] == close(recalls)
    assert result["macro_f1"] == close(sk.f1_score(targets, answers, average="macro", zero_division=0))
    if len(labels) > 1:
        assert result["log_loss"] == close(
            sk.log_loss(targets, probabilities.astype(np.float64), labels=range(len(labels)))
        )
    assert result["examples"] == len(targets)


def test_the_numbers_per_class_are_those_of_scikit_learn(case):
    probabilities, targets, labels = case
    answers = probabilities.argmax(axis=1)
    expected = sk.precision_recall_fscore_support(
        targets, answers, labels=range(len(labels)), zero_division=0
    )
    rows = measured(case)["per_class"]
    assert [row["label"] for row in rows] == labels
    for key, column in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        assert [row[key] for row in rows] == close(column.tolist())


def test_the_confusion_matrix_is_that_of_scikit_learn(case):
    probabilities, targets, labels = case
    answers = probabilities.argmax(axis=1)
    classes = range(len(labels))
    expected = np.array([[((targets == t) & (answers == p)).sum() for p in classes] for t in classes])
    if len(labels) > 1:
        assert (expected == sk.confusion_matrix(targets, answers, labels=classes)).all()
    assert measured(case)["confusion_matrix"] == expected.tolist()


def test_the_expected_calibration_error_is_the_formula_of_guo_et_al(case):
    probabilities, targets, _ = case
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    expected = 0.0
    for b in range(1, 16):
        inside = (confidence > (b - 1) / 15) & (confidence <= b / 15)
        if inside.any():
            expected += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    assert measured(case)["ece"] == close(expected)


def test_everything_survives_json_and_nothing_is_nan(case):
    result = measured(case)
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_intervals_lie_in_order_within_zero_and_one(case):
    for low, high in measured(case)["intervals"].values():
        assert 0 <= low <= high <= 1


def test_top_5_accuracy_is_that_of_scikit_learn():
    probabilities, targets, classes = CASES["chance"]
    expected = sk.top_k_accuracy_score(targets, probabilities, k=5, labels=range(classes))
    assert measured((probabilities, targets, list("abcdefghij")))["top_5_accuracy"] == close(expected)


def test_top_5_accuracy_breaks_ties_in_the_order_of_the_classes():
    equal = np.full((6, 6), 1 / 6)
    result = measured((equal, np.arange(6), list("abcdef")))
    assert result["top_5_accuracy"] == close(5 / 6)
    assert result["accuracy"] == close(1 / 6)


def test_top_5_accuracy_needs_more_than_5_labels():
    assert "top_5_accuracy" not in measured((np.eye(5), np.arange(5), list("abcde")))


@pytest.mark.parametrize("train_targets", [[0, 0, 1], [1, 1, 0], [2, 1, 2, 1], [2]])
def test_the_baseline_is_the_dummy_classifier_of_scikit_learn(train_targets):
    probabilities, targets, _ = drawn(60, 3, 1.0)
    dummy = DummyClassifier(strategy="most_frequent").fit(np.zeros((len(train_targets), 1)), train_targets)
    answer = dummy.predict([[0]])[0]
    expected = {"label": "abc"[answer], "accuracy": close(dummy.score(np.zeros((60, 1)), targets))}
    assert measured((probabilities, targets, list("abc")), train_targets)["baseline"] == expected


def test_the_most_confused_pairs_come_in_order_truth_first():
    targets = [0, 0, 0, 1, 1, 2, 2, 2, 2]
    answers = [1, 1, 0, 0, 2, 1, 1, 1, 2]
    assert measured((one_hot(answers, 3), np.array(targets), ["cat", "dog", "fox"]))["most_confused"] == [
        {"truth": "fox", "predicted": "dog", "count": 3},
        {"truth": "cat", "predicted": "dog", "count": 2},
        {"truth": "dog", "predicted": "cat", "count": 1},
    ]


def test_a_perfect_model_confuses_nothing():
    result = measured((np.eye(2), np.arange(2), ["a", "b"]))
    assert result["most_confused"] == []
    assert result["intervals"] == {"accuracy": [1.0, 1.0], "macro_f1": [1.0, 1.0]}


def test_float32_probabilities_and_lists_are_welcome():
    probabilities, targets, _ = CASES["good"]
    labels = list("abcdefgh")
    narrow = classification_metrics(probabilities.astype(np.float32), targets, labels, targets, 0)
    wide = classification_metrics(probabilities.tolist(), targets.tolist(), labels, targets.tolist(), 0)
    assert narrow["log_loss"] == pytest.approx(wide["log_loss"], rel=1e-6)
    assert narrow["confusion_matrix"] == wide["confusion_matrix"]


def test_the_same_seed_gives_the_same_intervals_and_another_seed_others():
    probabilities, targets, classes = CASES["good"]
    case = (probabilities, targets, list(range(classes)))
    assert measured(case, seed=3) == measured(case, seed=3)
    assert measured(case, seed=3)["intervals"] != measured(case, seed=4)["intervals"]


def test_intervals_are_those_of_scikit_learn_on_the_same_resamples():
    probabilities, targets, _ = drawn(80, 3, 1.0, [0.7, 0.2, 0.1])
    pairs, pair_of = np.unique([targets, probabilities.argmax(axis=1)], axis=1, return_inverse=True)
    accuracy, f1 = [], []
    for counts in resampled_counts(pair_of, seed=7):
        for truth, answers in (np.repeat(pairs, times, axis=1) for times in counts):
            accuracy.append(sk.accuracy_score(truth, answers))
            f1.append(sk.f1_score(truth, answers, average="macro", zero_division=0))
    intervals = measured((probabilities, targets, list("abc")), seed=7)["intervals"]
    assert len(f1) == 1000
    assert intervals["accuracy"] == close(np.percentile(accuracy, [2.5, 97.5]).tolist())
    assert intervals["macro_f1"] == close(np.percentile(f1, [2.5, 97.5]).tolist())


def test_about_95_of_100_intervals_contain_the_true_accuracy():
    rng = np.random.default_rng(11)
    covered = 0
    for seed in range(200):
        answers = (rng.random(150) < 0.8).astype(int)  # the truth is 1 throughout: accuracy 0.8
        result = measured((one_hot(answers, 2), np.ones(150, int), ["a", "b"]), seed=seed)
        low, high = result["intervals"]["accuracy"]
        covered += low <= 0.8 <= high
    assert 180 <= covered <= 199


def test_no_example_takes_a_call_of_its_own():
    probabilities, targets, classes = drawn(10_000, 100, 2.0)
    assert python_calls(lambda: measured((probabilities, targets, list(range(classes))))) < len(targets)


@pytest.mark.parametrize(
    ("probabilities", "targets", "message"),
    [
        (np.ones((2, 3)) / 3, [0, 1], "probabilities must have the shape (N, 2), got (2, 3)"),
        (np.zeros((0, 2)), [], "probabilities must have at least one row, got none"),
        (
            [[np.nan, 1], [0, 1]],
            [0, 1],
            "probabilities must be finite numbers, got NaN or infinity in 1 of 2 rows",
        ),
        ([[0.5, 0.5]], [2], "targets must lie between 0 and 1, got 2 to 2"),
        ([[0.5, 0.5]], [0.5], "targets must be integers of the shape (N,) with N ≥ 1, got float64 (1,)"),
        ([[0.5, 0.5]], [0, 1], "one target per prediction is needed, got 2 for 1"),
        (
            [[3.0, -1.0]],
            [0],
            "probabilities must not be negative and each row must sum to 1, "
            "got values from -1 and sums from 2 to 2",
        ),
    ],
)
def test_a_wrong_argument_is_named(probabilities, targets, message):
    with pytest.raises(ValueError) as raised:  # noqa: PT011 the whole message is compared
        classification_metrics(probabilities, targets, ["a", "b"], [0], 0)
    assert str(raised.value) == message
