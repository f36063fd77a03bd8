"""Every number against scikit-learn, on ordinary, tiny and degenerate label sets."""

import json

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.dummy import DummyClassifier

from transfer_core.metrics import fit_label_temperature, multi_label, multi_label_metrics
from transfer_core.metrics.bootstrap import resampled_counts
from work import python_calls

pytestmark = pytest.mark.slow


def drawn(n, labels, share, seed=0, levels=None):
    rng = np.random.default_rng(seed)
    targets = rng.random((n, labels)) < share
    scores = 1 / (1 + np.exp(-rng.normal(size=(n, labels)) - 1.5 * targets + 0.7))
    return (scores if levels is None else np.round(scores * levels) / levels), targets


def without(case, column):
    """A label that no example has."""
    scores, targets = case
    targets = targets.copy()
    targets[:, column] = False
    return scores, targets


CASES = {
    "ordinary": drawn(200, 6, 0.3),
    "many labels": drawn(60, 40, 0.1),
    "ties": drawn(90, 4, 0.4, levels=3),
    "rare": drawn(150, 5, 0.02),
    "two labels": drawn(30, 2, 0.5),
    "absent label": without(drawn(80, 4, 0.3), 2),
    "one example": drawn(1, 3, 0.5, seed=3),
    "nothing but empty sets": (drawn(10, 3, 0.3)[0], np.zeros((10, 3), bool)),
    "everything": (drawn(10, 3, 0.3)[0], np.ones((10, 3), bool)),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request):
    return request.param


THRESHOLD = 0.45


def measured(case, shares=None, seed=0, thresholds=None):
    scores, targets = case
    width = targets.shape[1]
    return multi_label_metrics(
        scores,
        targets,
        [f"label {k}" for k in range(width)],
        [THRESHOLD] * width if thresholds is None else thresholds,
        targets.mean(axis=0) if shares is None else shares,
        seed,
    )


def close(value):
    return pytest.approx(value, rel=1e-9, abs=1e-12)


def test_the_ranking_measures_are_those_of_scikit_learn(case):
    scores, targets = case
    result, present = measured(case), targets.any(axis=0)
    expected = (
        sk.average_precision_score(targets[:, present], scores[:, present], average="macro")
        if present.any()
        else 0
    )
    assert result["mean_average_precision"] == close(expected)
    assert result["label_ranking_average_precision"] == close(
        sk.label_ranking_average_precision_score(targets, scores)
    )
    assert result["ranking_loss"] == close(sk.label_ranking_loss(targets, scores))


def test_the_measures_at_the_thresholds_are_those_of_scikit_learn(case):
    scores, targets = case
    result, said = measured(case), scores >= THRESHOLD
    seen = (targets | said).any(axis=0)
    f1 = {"y_true": targets[:, seen], "y_pred": said[:, seen], "zero_division": 0}
    assert result["micro_f1"] == close(sk.f1_score(**f1, average="micro"))
    assert result["macro_f1"] == close(sk.f1_score(**f1, average="macro"))
    assert result["exact_match"] == close(sk.accuracy_score(targets, said))
    assert result["examples"] == len(targets)


def test_log_loss_is_the_mean_of_scikit_learns(case):
    scores, targets = case
    losses = [sk.log_loss(targets[:, k], scores[:, k], labels=[0, 1]) for k in range(targets.shape[1])]
    assert measured(case)["log_loss"] == close(np.mean(losses))


def test_the_numbers_per_label_are_those_of_scikit_learn(case):
    scores, targets = case
    rows, said = measured(case)["per_label"], scores >= THRESHOLD
    precision, recall, f1, support = sk.precision_recall_fscore_support(
        targets, said, average=None, zero_division=0
    )
    for k, row in enumerate(rows):
        has = bool(targets[:, k].any())
        assert row == {
            "label": f"label {k}",
            "average_precision": close(sk.average_precision_score(targets[:, k], scores[:, k]) if has else 0),
            "precision": close(precision[k]),
            "recall": close(recall[k]),
            "f1": close(f1[k]),
            "threshold": THRESHOLD,
            "support": support[k],
        }
        assert type(row["support"]) is int


def test_each_label_has_a_threshold_of_its_own():
    scores, targets = drawn(100, 3, 0.4)
    edges = [0.2, 0.5, 0.8]
    rows = measured((scores, targets), thresholds=edges)["per_label"]
    for k, row in enumerate(rows):
        assert row["f1"] == close(sk.f1_score(targets[:, k], scores[:, k] >= edges[k]))
    at_the_edge = measured((np.array([[0.5]]), np.array([[True]])), thresholds=[0.5])
    assert at_the_edge["micro_f1"] == 1


def test_the_baseline_is_scikit_learns_classifier_of_the_training_shares():
    scores, targets = drawn(120, 5, [0.1, 0.5, 0.3, 0.05, 0.6])
    trained = drawn(300, 5, [0.2, 0.4, 0.3, 0.1, 0.5], seed=5)[1]
    dummy = DummyClassifier(strategy="prior").fit(np.zeros((300, 1)), trained)
    constant = np.stack([p[:, 1] for p in dummy.predict_proba(np.zeros((120, 1)))], axis=1)
    everything = np.ones_like(targets)
    assert measured((scores, targets), trained.mean(axis=0))["baseline"] == {
        "mean_average_precision": close(sk.average_precision_score(targets, constant)),
        "label_ranking_average_precision": close(sk.label_ranking_average_precision_score(targets, constant)),
        "micro_f1": close(sk.f1_score(targets, everything, average="micro")),
        "macro_f1": close(sk.f1_score(targets, everything, average="macro")),
    }


def test_intervals_are_percentiles_of_scikit_learns_measures_of_the_same_resamples(monkeypatch):
    monkeypatch.setattr(multi_label, "RESAMPLES", 120)
    scores, targets = drawn(50, 3, 0.4)
    said = scores >= THRESHOLD
    rows = [
        np.repeat(np.arange(50), count)
        for chunk in resampled_counts(np.arange(50), seed=7, resamples=120)
        for count in chunk
    ]
    assert len(rows) == 120
    measures = {
        "mean_average_precision": lambda r: sk.average_precision_score(targets[r], scores[r]),
        "micro_f1": lambda r: sk.f1_score(targets[r], said[r], average="micro"),
        "macro_f1": lambda r: sk.f1_score(targets[r], said[r], average="macro"),
        "label_ranking_average_precision": lambda r: sk.label_ranking_average_precision_score(
            targets[r], scores[r]
        ),
    }
    found = measured((scores, targets), seed=7)["intervals"]
    for name, measure in measures.items():
        expected = np.percentile([measure(row) for row in rows], [2.5, 97.5])
        assert found[name] == close(expected.tolist())


def test_everything_is_plain_data(case):
    result = measured(case)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    for low, high in result["intervals"].values():
        assert 0 <= low <= high <= 1 + 1e-12


def test_work_in_python_grows_slower_than_the_examples():
    few, many = (python_calls(lambda n=n: measured(drawn(n, 50, 0.05))) for n in (1_000, 10_000))
    assert many < 5 * few


@pytest.mark.parametrize(
    ("scores", "targets", "message"),
    [
        ([[0.5]], [[1]], r"probabilities must have the shape \(N, 2\), got \(1, 1\)"),
        ([[0.5, 1.5]], [[1, 0]], "probabilities must lie within 0 and 1, got 0.5 to 1.5"),
        ([[0.5, np.nan]], [[1, 0]], "probabilities must be finite"),
        ([[0.5, 0.5]], [[1, 2]], "targets must be 0 or 1"),
        ([[0.5, 0.5]], [[1, 0], [1, 0]], "one target per prediction"),
    ],
)
def test_what_is_refused(scores, targets, message):
    with pytest.raises(ValueError, match=message):
        multi_label_metrics(scores, targets, ["a", "b"], [0.5, 0.5], [0.5, 0.5], 0)


def test_the_temperature_of_labels_has_the_least_log_loss():
    rng = np.random.default_rng(0)
    targets = rng.random((400, 3)) < [0.2, 0.5, 0.7]
    honest = rng.normal(size=(400, 3)) + 1.5 * targets - 0.8
    found = fit_label_temperature(4 * honest, targets)

    def loss(temperature):
        p = 1 / (1 + np.exp(-4 * honest / temperature))
        return sk.log_loss(targets.ravel(), p.ravel())

    assert 2 < found < 8
    assert all(loss(found) <= loss(found * factor) for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2))
    assert fit_label_temperature([[3.0, -2.0]], [[True, False]]) == 1.0
