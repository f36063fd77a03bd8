"""Heads that scikit-learn fits, beside scikit-learn's own estimators on the same rows."""

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from criteria import Rows
from transfer_core.heads import fit_head
from transfer_core.heads.classic_trees import _grown
from transfer_core.heads.dense import DenseHead
from transfer_core.heads.folds import fold_of
from transfer_core.heads.restored import restored
from transfer_core.heads.scaling import standardization
from transfer_core.plan import checks
from transfer_core.plan.checks import check_task
from transfer_core.recipe.heads import GradientBoostingHead, KnnHead, LogisticHead, RandomForestHead, SvmHead
from transfer_core.recipe.parser import parse_recipe
from transfer_core.recipe.steps import Train
from transfer_core.runtime.errors import Cancelled, DependencyError, RecipeError
from transfer_core.runtime.progress import Progress
from transfer_core.tasks import TASKS

pytestmark = pytest.mark.slow

WIDTH = 6
LOGISTIC, SVM, LINEAR_SVM = LogisticHead(c=0.5), SvmHead(), SvmHead(c=0.5, kernel="linear")
FOREST, BOOSTING, KNN = RandomForestHead(trees=25), GradientBoostingHead(trees=25), KnnHead(neighbors=4)
SEED = 3


def rows(kind, outputs, n=120, seed=0):
    """Clouds far from zero on scales of their own, and weights."""
    rng = np.random.default_rng(seed)
    spread, centres = np.logspace(-1, 1, WIDTH), np.random.default_rng(99).normal(size=(outputs, WIDTH))
    z, classes = rng.normal(size=(n, WIDTH)), np.arange(n) % outputs
    scores = z @ centres.T + rng.normal(size=(n, outputs))
    targets = {"classes": classes, "labels": scores > 0.3, "values": scores.astype(np.float32)}[kind]
    z = z + centres[classes] if kind == "classes" else z
    return Rows(
        (z * spread + 5).astype(np.float32),
        targets,
        rng.uniform(0.5, 2, n).astype(np.float32),
        np.arange(n),
    )


def fit(spec, rows, outputs, progress=None):
    nothing = rows.take(np.arange(0))
    return fit_head(spec, Train(), rows, nothing, outputs, SEED, progress or Progress())


def their_features(spec, rows):
    raw = rows.features
    if isinstance(spec, RandomForestHead | GradientBoostingHead):
        return raw
    return StandardScaler().fit_transform(raw.astype(float))


def their_classifier(spec):
    return {
        LOGISTIC: LogisticRegression(C=0.5, max_iter=1000),
        SVM: SVC(break_ties=True),
        LINEAR_SVM: SVC(C=0.5, kernel="linear", break_ties=True),
        FOREST: RandomForestClassifier(25, random_state=SEED),
        BOOSTING: HistGradientBoostingClassifier(max_iter=25, random_state=SEED),
        KNN: KNeighborsClassifier(4),
    }[spec]


def their_regressor(spec):
    return {
        SVM: SVR(),
        LINEAR_SVM: SVR(C=0.5, kernel="linear"),
        FOREST: RandomForestRegressor(25, random_state=SEED),
        BOOSTING: HistGradientBoostingRegressor(max_iter=25, random_state=SEED),
        KNN: KNeighborsRegressor(4),
    }[spec]


def weighted(spec, rows):
    return {} if isinstance(spec, KnnHead) else {"sample_weight": rows.weights}


def probable(shares, voters):
    """What a softmax of the head says of shares of votes: none counts as half of one."""
    clipped = np.maximum(shares, 0.5 / voters)
    return clipped / clipped.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("outputs", [2, 4])
@pytest.mark.parametrize("spec", [LOGISTIC, SVM, LINEAR_SVM, FOREST, BOOSTING, KNN])
def test_classes(spec, outputs):
    train, fresh = rows("classes", outputs), rows("classes", outputs, seed=1)
    scaler = StandardScaler().fit(train.features.astype(float))
    theirs = their_classifier(spec).fit(their_features(spec, train), train.targets, **weighted(spec, train))
    ours = fit(spec, train, outputs).head(fresh.features)
    raw = isinstance(spec, RandomForestHead | GradientBoostingHead)
    asked = fresh.features if raw else scaler.transform(fresh.features.astype(float))
    assert np.array_equal(ours.argmax(axis=1), theirs.predict(asked))
    if isinstance(spec, SvmHead):
        margins = ours[:, 1] - ours[:, 0] if outputs == 2 else ours
        np.testing.assert_allclose(margins, theirs.decision_function(asked), atol=5e-3)
        return
    expected = theirs.predict_proba(asked)
    voters = {RandomForestHead: 25, KnnHead: 4}.get(type(spec))
    expected = probable(expected, voters) if voters else expected
    np.testing.assert_allclose(softmax(ours, axis=1), expected, atol=1e-4)


@pytest.mark.parametrize("spec", [FOREST, BOOSTING])
def test_a_feature_that_is_just_the_threshold(spec):
    rng = np.random.default_rng(0)
    whole = rng.integers(0, 4, (80, WIDTH))
    targets = whole.sum(axis=1) % 2
    ones = np.ones(80, np.float32)
    train = Rows(whole.astype(np.float32), targets, ones, np.arange(80))
    between = rng.integers(0, 7, (200, WIDTH)) / 2  # trees part whole numbers half-way
    theirs = their_classifier(spec).fit(whole.astype(np.float32), targets)
    ours = softmax(fit(spec, train, 2).head(between.astype(np.float32)), axis=1)
    shares = theirs.predict_proba(between.astype(np.float32))
    expected = probable(shares, 25) if spec is FOREST else shares
    np.testing.assert_allclose(ours, expected, atol=1e-4)


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("spec", [SVM, LINEAR_SVM, FOREST, BOOSTING, KNN])
def test_values(spec, outputs):
    train = rows("values", outputs)
    features, targets = their_features(spec, train), train.targets
    ours = fit(spec, train, outputs).head(train.features)
    if isinstance(spec, RandomForestHead | KnnHead):  # these know several outputs
        theirs = their_regressor(spec).fit(features, targets.squeeze(), **weighted(spec, train))
        expected = theirs.predict(features).reshape(-1, outputs)
    else:
        fits = [their_regressor(spec).fit(features, column, **weighted(spec, train)) for column in targets.T]
        expected = np.stack([fit.predict(features) for fit in fits], axis=1)
    np.testing.assert_allclose(ours, expected, atol=2e-3 if spec is LINEAR_SVM else 1e-4)


@pytest.mark.parametrize("spec", [LOGISTIC, SVM, FOREST, BOOSTING, KNN])
def test_labels_are_learned_each_for_itself(spec):
    train = rows("labels", 3)
    features, targets = their_features(spec, train), train.targets
    ours = fit(spec, train, 3).head(train.features)
    if isinstance(spec, RandomForestHead):
        theirs = their_classifier(spec).fit(features, targets, **weighted(spec, train))
        shares = np.stack([each[:, 1] for each in theirs.predict_proba(features)], axis=1)
        expected = 1 / (1 + np.maximum(1 - shares, 0.02) / np.maximum(shares, 0.02))
        np.testing.assert_allclose(expit(ours), expected, atol=1e-5)
        return
    for k, truth in enumerate(targets.T):
        theirs = their_classifier(spec).fit(features, truth, **weighted(spec, train))
        if isinstance(spec, SvmHead):
            np.testing.assert_allclose(ours[:, k], theirs.decision_function(features), atol=5e-3)
        else:
            shares = theirs.predict_proba(features)
            shares = probable(shares, 4) if isinstance(spec, KnnHead) else shares
            np.testing.assert_allclose(expit(ours[:, k]), shares[:, 1], atol=1e-4)


@pytest.mark.parametrize("spec", [LOGISTIC, SVM, BOOSTING])
def test_labels_may_have_weights_of_their_own(spec):
    train = rows("labels", 2)
    weights = np.stack([np.where(train.targets[:, 0], 5.0, 1.0), np.ones(len(train))], axis=1)
    weights = weights.astype(np.float32)
    ours = fit(spec, Rows(train.features, train.targets, weights, train.groups), 2).head(train.features)
    alone = [
        fit(spec, Rows(train.features, train.targets, weights[:, k].copy(), train.groups), 2)
        for k in range(2)
    ]
    for k in range(2):
        np.testing.assert_allclose(ours[:, k], alone[k].head(train.features)[:, k], rtol=1e-5, atol=1e-5)
    assert not np.allclose(ours[:, 0], alone[1].head(train.features)[:, 0], atol=0.01)


@pytest.mark.parametrize("spec", [LOGISTIC, SVM, FOREST, BOOSTING, KNN])
def test_a_label_that_all_examples_have_or_none(spec):
    train = rows("labels", 3)
    targets = train.targets.copy()
    targets[:, 1], targets[:, 2] = True, False
    outputs = fit(spec, Rows(train.features, targets, train.weights, train.groups), 3).head(train.features)
    assert (outputs[:, 1] > 1).all()
    assert (outputs[:, 2] < -1).all()


@pytest.mark.parametrize("spec", [LOGISTIC, SVM, FOREST, BOOSTING, KNN])
@pytest.mark.parametrize(("kind", "outputs"), [("classes", 3), ("values", 2), ("labels", 2)])
def test_a_saved_head_is_numbers_alone(spec, kind, outputs):
    if kind == "values" and spec is LOGISTIC:
        return
    train = rows(kind, outputs, n=40)
    head = fit(spec, train, outputs).head
    again = restored(spec, head.state_dict(), WIDTH, outputs)
    assert np.array_equal(again(train.features), head(train.features))
    allowed = {"float64", "float32", "int32", "int64", "bool"}
    assert {array.dtype.name for array in head.state_dict().values()} <= allowed


@pytest.mark.parametrize("spec", [SVM, FOREST, BOOSTING, KNN])
def test_a_saved_head_lacks_nothing(spec):
    tensors = fit(spec, rows("classes", 3, n=30), 3).head.state_dict()
    tensors.popitem()
    with pytest.raises(ValueError, match="does not fit its header"):
        restored(spec, tensors, WIDTH, 3)


@pytest.mark.parametrize(("spec", "name"), [(FOREST, "left"), (BOOSTING, "feature"), (FOREST, "leaf")])
def test_a_file_that_points_outside_of_a_tree_is_an_error_and_no_crash(spec, name):
    train = rows("classes", 3, n=40)
    head = fit(spec, train, 3).head
    getattr(head, name).fill(2**30)
    with pytest.raises(IndexError, match="out of bounds"):
        head(train.features)
    with pytest.raises(ValueError, match=f"its head: {name} has numbers from 0 to "):
        restored(spec, head.state_dict(), WIDTH, 3)


@pytest.mark.parametrize("spec", [FOREST, BOOSTING])
def test_a_file_whose_tree_leads_in_a_circle_ends(spec):
    train = rows("classes", 3, n=40)
    head = fit(spec, train, 3).head
    head.right.fill(0)
    head.left.fill(0)
    head.depth.fill(2**40)
    assert head(train.features[:2]).shape == (2, 3)


def test_held_out_outputs_come_from_fits_that_did_not_see_the_row():
    train = rows("classes", 3, n=60)
    fitted = fit(FOREST, train, 3)
    fold = fold_of(train, 5, SEED)
    order = np.concatenate([np.flatnonzero(fold == k) for k in range(5)])
    assert np.array_equal(fitted.held_out_targets, train.targets[order])
    left, others = np.flatnonzero(fold == 1), np.flatnonzero(fold != 1)
    alone = fit(FOREST, train.take(others), 3).head(train.features[left])
    begin = int((fold == 0).sum())
    assert np.array_equal(fitted.held_out[begin : begin + len(left)], alone)
    (entry,) = fitted.history
    right = (fitted.held_out.argmax(axis=1) == fitted.held_out_targets).mean()
    assert entry["accuracy"] == pytest.approx(float(right))


def test_views_of_an_example_are_held_out_together_and_asked_once():
    single = rows("classes", 2, n=20)
    index = np.arange(20).repeat(3)
    fitted = fit(KnnHead(neighbors=1), single.take(index), 2)
    assert len(fitted.held_out) == 20
    assert fitted.history[0]["accuracy"] < 1  # its own views would have told


def test_a_fold_that_leaves_a_class_out_says_nothing():
    train = rows("classes", 2, n=20)
    targets = np.zeros(20, np.int64)
    targets[7] = 1
    lonely = Rows(train.features, targets, train.weights, train.groups)
    fitted = fit(LOGISTIC, lonely, 2)
    assert len(fitted.held_out) == 16
    assert 1 not in fitted.held_out_targets
    both = fit(LOGISTIC, lonely.take(np.array([6, 7])), 2)
    assert both.history == []
    assert both.held_out.shape == (0, 2)


@pytest.mark.parametrize("estimator", [RandomForestClassifier, HistGradientBoostingClassifier])
def test_trees_grown_some_at_a_time_are_those_grown_at_once(estimator):
    train = rows("classes", 3)
    word = "n_estimators" if estimator is RandomForestClassifier else "max_iter"
    problem = classic_problem(train)
    parts = _grown(
        estimator(random_state=0, warm_start=True), word, 45, train.features, problem, lambda: None
    )
    at_once = estimator(random_state=0, **{word: 45})
    at_once.fit(train.features, problem.truth, problem.weights)
    features = train.features
    assert np.array_equal(parts.predict_proba(features), at_once.predict_proba(features))


def classic_problem(rows):
    from transfer_core.heads.classic_problems import problems_of

    return next(problems_of(rows, 3))


def test_boosting_that_stops_early_stops():
    train = rows("values", 1, n=300)
    problem = classic_problem(train)
    options = {"random_state": 0, "early_stopping": True, "n_iter_no_change": 2}
    asked = []
    parts = _grown(
        HistGradientBoostingRegressor(warm_start=True, **options),
        "max_iter",
        200,
        train.features,
        problem,
        lambda: asked.append(1),
    )
    at_once = HistGradientBoostingRegressor(max_iter=200, **options)
    at_once.fit(train.features, problem.truth, problem.weights)
    assert parts.n_iter_ == at_once.n_iter_ < 200
    assert len(asked) < 10


def test_a_forest_is_stopped_between_trees():
    calls = []

    def cancelled():
        calls.append(1)
        return len(calls) > 20

    with pytest.raises(Cancelled):
        fit(RandomForestHead(trees=1000), rows("classes", 2), 2, Progress(cancelled=cancelled))
    assert len(calls) < 30


@pytest.mark.parametrize("spec", [FOREST, BOOSTING, SVM])
def test_the_seed_decides(spec):
    train = rows("classes", 3)
    heads = [
        fit_head(spec, Train(), train, train.take(np.arange(0)), 3, seed, Progress()).head
        for seed in (1, 1, 2)
    ]
    first, again, other = (head(train.features) for head in heads)
    assert np.array_equal(first, again)
    assert np.array_equal(first, other) is (spec is not FOREST)


def test_fewer_examples_than_neighbours():
    train = rows("classes", 2, n=4)
    outputs = fit(KnnHead(neighbors=50), train, 2).head(train.features)
    np.testing.assert_allclose(outputs, np.log(np.full((4, 2), 0.5)), rtol=1e-6)


class TestCounts:
    """Rows that are nearly all zeros: words."""

    @pytest.fixture
    def words(self):
        rng = np.random.default_rng(0)
        targets = np.arange(200) % 3
        features = (rng.random((200, 300)) < 0.02) * rng.uniform(0.2, 1, (200, 300))
        features[np.arange(200), targets] = 0.3
        return Rows(
            features.astype(np.float32),
            targets,
            np.ones(200, np.float32),
            np.arange(200),
        )

    def test_they_share_one_scale(self, words):
        mean, scale = standardization(words.features)
        np.testing.assert_allclose(mean, words.features.mean(axis=0), rtol=1e-5)
        assert len(np.unique(scale)) == 1
        np.testing.assert_allclose(scale[0] ** 2, words.features.var(axis=0).mean(), rtol=1e-5)

    @pytest.mark.parametrize(
        ("spec", "theirs"),
        [
            (LogisticHead(), LogisticRegression(max_iter=1000)),
            (SvmHead(), SVC(break_ties=True)),
            (SvmHead(kernel="linear"), SVC(kernel="linear", break_ties=True)),
        ],
    )
    def test_scikit_learn_gets_them_as_they_are(self, words, spec, theirs):
        theirs.fit(words.features, words.targets)
        ours = fit(spec, words, 3).head(words.features)
        assert np.array_equal(ours.argmax(axis=1), theirs.predict(words.features))
        if isinstance(spec, LogisticHead):
            expected = theirs.predict_proba(words.features)
            np.testing.assert_allclose(softmax(ours, axis=1), expected, atol=2e-3)
        else:
            expected = theirs.decision_function(words.features)
            np.testing.assert_allclose(ours, expected, atol=5e-3)

    def test_two_classes_too(self, words):
        two = Rows(words.features, np.minimum(words.targets, 1), words.weights, words.groups)
        theirs = SVC().fit(two.features, two.targets)
        ours = fit(SVM, two, 2).head(two.features)
        expected = theirs.decision_function(two.features)
        np.testing.assert_allclose(ours[:, 1] - ours[:, 0], expected, atol=5e-3)


class TestChecks:
    def recipe(self, **words):
        return parse_recipe({"data": "x", "backbone": "y", **words})

    def check(self, recipe):
        task = TASKS["classification" if recipe.task == "auto" else recipe.task]
        check_task(recipe, task, ("a", "b"))

    def test_logistic_is_for_classes(self):
        with pytest.raises(RecipeError, match=r"^head: logistic is for classes\. Try: linear, "):
            self.check(self.recipe(head="logistic", task="regression"))
        self.check(self.recipe(head="logistic", task="multi_label"))

    def test_a_forest_has_no_weights_for_labels(self):
        weights = {"steps": [{"type": "train", "class_weights": "balanced"}]}
        with pytest.raises(
            RecipeError, match=r"^class_weights: a random forest has no weight for each label"
        ):
            self.check(self.recipe(head="random_forest", task="multi_label", **weights))
        self.check(self.recipe(head="random_forest", task="classification", **weights))

    def test_only_neighbours_need_no_scikit_learn(self, monkeypatch):
        monkeypatch.setattr(checks, "find_spec", lambda name: None)
        with pytest.raises(
            DependencyError, match=r"^the head svm needs the package scikit-learn\. Fix: .* pip install"
        ):
            self.check(self.recipe(head="svm"))
        self.check(self.recipe(head="knn"))
        self.check(self.recipe())


def test_logistic_regression_is_a_dense_layer():
    assert isinstance(fit(LOGISTIC, rows("classes", 3), 3).head, DenseHead)
