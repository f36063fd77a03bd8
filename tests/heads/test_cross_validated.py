"""The default head against scikit-learn: its fit, and the strength it chooses."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
from scipy.special import expit
from scipy.special import softmax as scipy_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss, mean_squared_error

from criteria import Rows
from transfer_core.heads import cross_validated, folds, linear_problem
from transfer_core.heads.coordinates import coordinates_of
from transfer_core.heads.cross_validated import fit_linear
from transfer_core.heads.folds import fold_of
from transfer_core.heads.linear_problem import linear_problems
from transfer_core.heads.scaling import Scaling, scalings, standardization
from transfer_core.heads.strength_search import STRENGTHS
from transfer_core.runtime.errors import Cancelled
from transfer_core.runtime.progress import Progress

pytestmark = pytest.mark.slow


def standardized(features):
    features = np.asarray(features, np.float32)
    mean, scale = standardization(features)
    return (features - mean) / scale


def classes(n, width, labels, seed=0, spread=1.0, weighted=False):
    """Overlapping clouds, one per class."""
    rng = np.random.default_rng(seed)
    targets = np.concatenate([np.arange(labels), rng.integers(labels, size=n - labels)])
    features = rng.normal(size=(labels, width))[targets] * spread + rng.normal(size=(n, width)) * 2
    weights = rng.uniform(0.2, 3, n) if weighted else np.ones(n)
    return Rows(
        standardized(features),
        targets,
        weights.astype(np.float32),
        np.arange(n),
    )


def values(n, width, outputs, seed=0, weighted=False):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, width))
    targets = features[:, :3] @ rng.normal(size=(3, outputs)) + rng.normal(size=(n, outputs))
    targets = (targets - targets.mean(axis=0)) / targets.std(axis=0)
    weights = rng.uniform(0.2, 3, n) if weighted else np.ones(n)
    return Rows(
        standardized(features),
        targets.astype(np.float32),
        weights.astype(np.float32),
        np.arange(n),
    )


def labels(n, width, outputs, seed=0, weighted=False):
    """Label sets, the later labels the rarer; some rows have none."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, width))
    logits = features[:, :4] @ rng.normal(size=(4, outputs)) - np.arange(outputs)
    targets = rng.random((n, outputs)) < 1 / (1 + np.exp(-logits))
    weights = np.where(targets, np.arange(1.0, outputs + 1), 1.0) if weighted else np.ones(n)
    return Rows(standardized(features), targets, weights.astype(np.float32), np.arange(n))


def kind_of(rows):
    return {"bool": "labels", "int64": "classes", "float32": "values"}[rows.targets.dtype.name]


def as_they_are(rows):
    width = rows.features.shape[1]
    return Scaling(np.zeros(width), np.ones(width))


def problem_of(rows, weights, outputs):
    """In double precision."""
    return linear_problems(
        rows, coordinates_of(rows.features.astype(float), as_they_are(rows)), weights, outputs, lambda: None
    )


def exact(rows, strength, outputs):
    """Our solution without a path before it: weight (K, D) and bias (K,)."""
    problem = problem_of(rows, rows.example_weights[None], outputs)
    solution = problem.solve(strength, problem.zeros(), 1e-18)[0]
    weight, bias = problem.at.on_features(solution[:, :-1], solution[:, -1])
    return weight, bias


def of_sklearn(rows, strength, chosen=slice(None)):
    """Their solution for the same loss: weight (K, D), bias (K,)."""
    x, y, w = (t[chosen].astype(float) for t in (rows.features, rows.targets, rows.weights))
    if kind_of(rows) == "labels":
        w = np.ones_like(y) if w.ndim == 1 else w / rows.weights.mean(dtype=float)
        fits = [_binary(x, y[:, k], w[:, k], strength) for k in range(y.shape[1])]
        return np.concatenate([fit.coef_ for fit in fits]), np.concatenate([fit.intercept_ for fit in fits])
    if kind_of(rows) == "values":
        ridge = Ridge(alpha=strength * w.sum(), tol=1e-12, solver="svd").fit(x, y, w)
        return ridge.coef_.reshape(y.shape[1], -1), ridge.intercept_.reshape(-1)
    model = LogisticRegression(C=1 / (strength * w.sum()), tol=1e-10, max_iter=5000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x, y.astype(int), w)
    return model.coef_, model.intercept_


def _binary(x, y, w, strength):
    return LogisticRegression(C=1 / (strength * len(y)), tol=1e-10, max_iter=5000).fit(x, y, w)


def fitted(rows, outputs, folds=5, seed=0):
    return fit_linear(rows, outputs, folds, seed, Progress())


def outputs(fit, rows):
    return rows.features @ fit.weight.T + fit.bias


def softmax(outputs):
    return scipy_softmax(outputs, axis=-1)


SHAPES = [(120, 10, 3), (40, 90, 4), (60, 8, 10)]


@pytest.mark.parametrize("strength", [1.0, 1e-2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_classes_are_fitted_as_by_scikit_learn(shape, weighted, strength):
    rows = classes(*shape, weighted=weighted)
    weight, bias = exact(rows, strength, shape[2])
    their_weight, their_bias = of_sklearn(rows, strength)
    np.testing.assert_allclose(weight, their_weight, atol=2e-4)
    # Logits are known up to a constant.
    np.testing.assert_allclose(bias - bias.mean(), their_bias - their_bias.mean(), atol=2e-4)


@pytest.mark.parametrize("strength", [1.0, 1e-2])
def test_two_classes_are_fitted_as_by_scikit_learn(strength):
    rows = classes(80, 6, 2, weighted=True)
    weight, bias = exact(rows, strength, 2)
    # Two weight vectors of opposite sign share what scikit-learn puts into one, at half the penalty.
    their_weight, their_bias = of_sklearn(rows, strength / 2)
    np.testing.assert_allclose(weight[1:] - weight[:1], their_weight, atol=2e-4)
    np.testing.assert_allclose(bias[1:] - bias[:1], their_bias, atol=2e-4)


@pytest.mark.parametrize("strength", [1.0, 1e-3])
@pytest.mark.parametrize("shape", [(120, 10, 1), (120, 10, 3), (40, 90, 2)])
def test_values_are_fitted_as_by_scikit_learn(shape, strength):
    rows = values(*shape, weighted=True)
    for ours, theirs in zip(exact(rows, strength, shape[2]), of_sklearn(rows, strength), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("strength", [1.0, 1e-2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(120, 10, 3), (40, 90, 2), (150, 6, 1)])
def test_labels_are_fitted_as_by_one_logistic_regression_each(shape, weighted, strength):
    rows = labels(*shape, weighted=weighted)
    for ours, theirs in zip(exact(rows, strength, shape[2]), of_sklearn(rows, strength), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-4)


def by_brute_force(rows, folds, seed, strengths):
    """Held-out losses of scikit-learn's fits, one per strength."""
    fold = fold_of(rows, folds, seed)
    x, y, w = (t.astype(float) for t in (rows.features, rows.targets, rows.weights))
    losses = []
    for strength in strengths:
        output = np.zeros((len(y), len(np.unique(y)) if kind_of(rows) == "classes" else y.shape[1]))
        for k in range(folds):
            weight, bias = of_sklearn(rows, strength, fold != k)
            output[fold == k] = x[fold == k] @ weight.T + bias
        if kind_of(rows) == "labels":
            weights = w.ravel() if w.ndim == 2 else None
            losses.append(log_loss(y.ravel(), 1 / (1 + np.exp(-output.ravel())), sample_weight=weights))
        elif kind_of(rows) == "classes":
            shifted = np.exp(output - output.max(axis=1, keepdims=True))
            losses.append(log_loss(y, shifted / shifted.sum(axis=1, keepdims=True), sample_weight=w))
        else:
            losses.append(mean_squared_error(y, output, sample_weight=w))
    return losses


@pytest.mark.parametrize(
    ("rows", "outputs"),
    [
        (classes(100, 8, 3, weighted=True), 3),
        (classes(48, 70, 3), 3),
        (values(100, 8, 2, weighted=True), 2),
        (values(40, 60, 1), 1),
        (labels(90, 6, 2, weighted=True), 2),
        (labels(60, 70, 2), 2),
    ],
    ids=["classes", "classes, wide", "values", "values, wide", "labels", "labels, wide"],
)
def test_the_strength_is_the_one_that_brute_force_finds(rows, outputs):
    fit = fitted(rows, outputs, folds=4, seed=3)
    tried = [entry["strength"] for entry in fit.path]
    assert tried == sorted(set(tried) & set(STRENGTHS), reverse=True)
    losses = dict(zip(STRENGTHS, by_brute_force(rows, 4, 3, STRENGTHS), strict=True))
    ours = [e["validation_loss"] for e in fit.path]
    np.testing.assert_allclose(ours, [losses[strength] for strength in tried], rtol=2e-2)
    assert losses[fit.strength] == pytest.approx(min(losses.values()), rel=2e-3)


def informative(n, width, labels, loud):
    """Classes that differ in a fifth of the features: in the `loud` ones, or in those that hardly vary."""
    rng = np.random.default_rng(0)
    targets = np.arange(n) % labels
    centres = np.where(np.arange(width) < width // 5, rng.normal(size=(labels, width)), 0)
    features = centres[targets] + rng.normal(size=(n, width))
    features *= np.where(np.arange(width) < width // 5, 8 if loud else 1 / 50, 1)
    return Rows(features.astype(np.float32), targets, np.ones(n, np.float32), np.arange(n))


@pytest.mark.parametrize("loud", [True, False], ids=["what varies says more", "what hardly varies says more"])
@pytest.mark.parametrize("n", [80, 1200])
def test_the_scaling_is_the_one_that_brute_force_finds(n, loud, monkeypatch):
    monkeypatch.setattr(cross_validated, "ENOUGH_FOR_SCALING", 300)
    rows = informative(n, 40, 4, loud)
    lowest = []
    for mean, scale in scalings(rows.features):
        scaled = Rows((rows.features - mean) / scale, rows.targets, rows.weights, rows.groups)
        lowest.append(min(by_brute_force(scaled, 5, 0, STRENGTHS)))
    own, shared = lowest
    assert shared < 0.9 * own if loud else own < 0.9 * shared
    found = min(entry["validation_loss"] for entry in fitted(rows, 4).path)
    assert found == pytest.approx(min(lowest), rel=0.02)


@pytest.mark.parametrize("shape", [(150, 12, 4), (40, 90, 4)])
def test_the_final_fit_gives_the_probabilities_of_scikit_learn(shape):
    rows = classes(*shape, weighted=True)
    fit = fitted(rows, 4)
    weight, bias = of_sklearn(rows, fit.strength)
    theirs = softmax(rows.features @ weight.T + bias)
    np.testing.assert_allclose(softmax(outputs(fit, rows)), theirs, atol=1e-3)


@pytest.mark.parametrize("shape", [(150, 12, 4), (60, 90, 3)])
def test_the_final_fit_gives_each_label_the_probability_of_scikit_learn(shape):
    rows = labels(*shape, weighted=True)
    fit = fitted(rows, shape[2])
    weight, bias = of_sklearn(rows, fit.strength)
    theirs = expit(rows.features @ weight.T + bias)
    np.testing.assert_allclose(expit(outputs(fit, rows)), theirs, atol=1e-3)
    assert sorted(map(tuple, fit.held_out_targets.tolist())) == sorted(map(tuple, rows.targets.tolist()))


def test_a_label_of_one_example_and_one_that_all_but_one_have():
    rows = labels(40, 5, 2)
    targets = np.zeros((40, 2), bool)
    targets[7, 0] = True
    targets[:, 1] = True
    targets[3, 1] = False
    fit = fitted(Rows(rows.features, targets, rows.weights, rows.groups), 2)
    assert np.isfinite(fit.held_out).all()
    assert fit.bias[0] < 0 < fit.bias[1]


def test_held_out_outputs_come_from_fits_that_did_not_see_them():
    rows = classes(90, 6, 3)
    fit = fitted(rows, 3)
    fold = fold_of(rows, 5, 0)
    expected, targets = [], []
    for k in range(5):
        weight, bias = of_sklearn(rows, fit.strength, fold != k)
        expected.append(rows.features[fold == k] @ weight.T + bias)
        targets.append(rows.targets[fold == k])
    assert np.array_equal(fit.held_out_targets, np.concatenate(targets))
    np.testing.assert_allclose(softmax(fit.held_out), softmax(np.concatenate(expected)), atol=1e-2)


def test_many_examples_need_fewer_folds():
    rows = classes(2600, 3, 2)
    fit = fitted(rows, 2)
    assert len(fit.held_out) == 2 * 520
    assert np.array_equal(
        fit.held_out_targets,
        rows.targets[np.concatenate([np.flatnonzero(fold_of(rows, 5, 0) == k) for k in (0, 1)])],
    )


def test_chunks_of_rows_give_the_same_fit(monkeypatch):
    rows = classes(90, 6, 3)
    whole = fitted(rows, 3)
    monkeypatch.setattr(linear_problem, "CHUNK_BYTES", 7 * 8 * 3)
    parts = fitted(rows, 3)
    assert whole.strength == parts.strength
    np.testing.assert_allclose(whole.weight, parts.weight, atol=1e-4)


def test_the_fit_repeats():
    rows = classes(90, 6, 3)
    first, second = fitted(rows, 3), fitted(rows, 3)
    assert np.array_equal(first.weight, second.weight)
    assert first.path == second.path


def accuracy(fit, rows):
    return float((outputs(fit, rows).argmax(axis=1) == rows.targets).mean())


def small(targets, width=20, seed=0):
    targets, generator = np.asarray(targets), np.random.default_rng(seed)
    centres = generator.normal(size=(int(targets.max()) + 1, width))
    features = centres[targets] + 0.1 * generator.normal(size=(len(targets), width))
    weights = np.ones(len(targets), np.float32)
    return Rows(standardized(features), targets, weights, np.arange(len(targets)))


@pytest.mark.parametrize(
    "targets",
    [
        [0, 1],
        [0, 1, 2, 3],
        list(range(12)),
        [0, 0, 1],
        [0] * 20 + [1],
        [0] * 10 + [1] * 10,
        [i // 2 for i in range(60)],
    ],
    ids=["two rows", "one each", "twelve", "three rows", "a class of one", "separable", "30 pairs"],
)  # fmt: skip
def test_little_data_is_learned(targets):
    rows = small(targets)
    fit = fitted(rows, max(targets) + 1)
    assert np.isfinite(fit.weight).all()
    assert np.isfinite(fit.bias).all()
    assert np.isfinite(fit.held_out).all()
    assert len(fit.held_out) == len(targets)
    assert accuracy(fit, rows) == 1


def test_a_class_that_no_row_has_is_not_predicted():
    rows = small([0] * 10 + [2] * 10)
    fit = fitted(rows, 4)
    assert fit.weight.shape == (4, 20)
    assert set(outputs(fit, rows).argmax(axis=1).tolist()) == {0, 2}


def test_two_values_are_enough():
    fit = fitted(values(2, 5, 1), 1)
    assert np.isfinite(fit.weight).all()


def test_constant_repeated_and_tiny_features_do_no_harm():
    plain = classes(80, 6, 3)
    nothing = np.zeros((80, 2), np.float32)
    clumsy = np.concatenate([plain.features, plain.features, nothing, plain.features * 1e-6], axis=1)
    fit = fitted(Rows(clumsy, plain.targets, plain.weights, plain.groups), 3)
    their = fitted(plain, 3)
    assert np.isfinite(fit.weight).all()
    assert np.abs(fit.weight[:, 12:14]).max() < 1e-9
    assert accuracy(fit, Rows(clumsy, plain.targets, plain.weights, plain.groups)) == pytest.approx(
        accuracy(their, plain), abs=0.03
    )


def test_features_that_say_nothing_leave_the_shares_of_the_classes():
    targets = np.array([0] * 30 + [1] * 10)
    features, weights = np.zeros((40, 3), np.float32), np.ones(40, np.float32)
    fit = fitted(Rows(features, targets, weights, np.arange(40)), 2)
    assert not fit.weight.any()
    np.testing.assert_allclose(softmax(fit.bias), [0.75, 0.25], atol=1e-3)


def test_progress_and_cancelling():
    events = []
    fit_linear(classes(60, 5, 3), 3, 5, 0, Progress(events.append))
    assert events[0] == {"event": "progress", "step": "train", "done": 0, "total": 34, "unit": "fits"}
    assert events[-1]["done"] == events[-1]["total"]
    with pytest.raises(Cancelled):
        fit_linear(classes(60, 5, 3), 3, 5, 0, Progress(cancelled=lambda: True))


def test_the_folds_to_fit_follow_the_examples_and_not_their_views(monkeypatch):
    monkeypatch.setattr(folds, "ENOUGH_HELD_OUT", 20)
    rows = classes(120, 4, 2)
    views = Rows(rows.features, rows.targets[np.arange(120) // 4 * 4], rows.weights, np.arange(120) // 4)
    assert len(fitted(rows, 2).held_out) == 24
    assert len(fitted(views, 2).held_out) == 24


def test_a_fit_can_be_cancelled_within_a_solve():
    asked = []

    def cancelled():
        asked.append(None)
        return len(asked) > 20

    with pytest.raises(Cancelled):
        fit_linear(classes(60, 5, 3), 3, 5, 0, Progress(cancelled=cancelled))
    assert len(asked) == 21


def test_the_number_of_threads_does_not_change_the_fit(monkeypatch):
    monkeypatch.setattr(linear_problem, "CHUNK_BYTES", 13 * 4 * 6)
    fits = []
    for threads in ("1", "3"):
        monkeypatch.setenv("TRANSFER_THREADS", threads)
        fits.append(fitted(classes(400, 6, 3), 3))
    assert np.array_equal(fits[0].weight, fits[1].weight)
    assert fits[0].path == fits[1].path


def test_features_may_be_a_read_only_file(tmp_path):
    rows = classes(90, 6, 3)
    np.save(tmp_path / "features.npy", rows.features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    fit = fitted(Rows(mapped, rows.targets, rows.weights, rows.groups), 3)
    assert np.array_equal(fit.weight, fitted(rows, 3).weight)


def test_memory_does_not_grow_with_the_rows():
    """Beyond the features, in a process of its own: 4 times the rows, about the same peak."""
    peaks = [int(subprocess.check_output([sys.executable, "-c", PEAK, str(n)])) for n in (2000, 8000)]
    assert peaks[1] < peaks[0] + 15_000


PEAK = """
import sys
import numpy as np
from transfer_core.heads.cross_validated import fit_linear
from transfer_core.heads.rows import Rows
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.criteria import CrossEntropy

def kilobytes(name):
    return int(next(line for line in open("/proc/self/status") if line.startswith(name)).split()[1])

n = int(sys.argv[1])
targets = np.arange(n) % 4
features = np.random.default_rng(0).standard_normal((n, 256), np.float32)
features[:, :4] += np.eye(4, dtype=np.float32)[targets]
rows = Rows(features, targets, np.ones(n, np.float32), np.arange(n), CrossEntropy())
some = Rows(*(t[:600] for t in (features, targets, rows.weights, rows.groups)), CrossEntropy())
fit_linear(some, 4, 5, 0, Progress())
open("/proc/self/clear_refs", "w").write("5")
before = kilobytes("VmRSS")
fit_linear(rows, 4, 5, 0, Progress())
print(kilobytes("VmHWM") - before)
"""
