"""Class weights and scaled targets against scikit-learn, and what can't be asked of the data."""

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

from transfer_core import backbones
from transfer_core.data import Dataset
from transfer_core.plan.plan import make_plan
from transfer_core.recipe.schema import PathSource, Recipe
from transfer_core.recipe.steps import Freeze, Train
from transfer_core.runtime.errors import RecipeError
from transfer_core.tasks import TASKS

LABELS = ("bird", "cat", "dog")


def dataset(targets):
    names = tuple(f"{i}.png" for i in range(len(targets)))
    return Dataset(names, names, np.asarray(targets))


class Fitted:
    """A task with data, and its state from the training part."""

    def __init__(self, targets, task="classification", labels=LABELS, valid=()):
        self.task, self.labels = TASKS[task], labels
        self.train = dataset(targets)
        self.valid = dataset(np.asarray(valid, np.asarray(targets).dtype))
        self.state = self.task.fit(labels, self.train)

    def targets(self, part):
        return self.task.targets(part, self.state)

    def weights(self, part, class_weights):
        return self.task.weights(part, self.labels, self.state, class_weights)


def planned(fitted, *trains):
    recipe = Recipe(data=PathSource("p"), backbone="b", steps=(Freeze(), *(trains or (Train(),))))
    facts = backbones.facts("mobilenet_v2")
    return make_plan(recipe, recipe, facts, fitted.task, fitted.labels, 0, 0)


def messages(fitted, *trains):
    with pytest.raises(RecipeError) as caught:
        planned(fitted, *trains)
    return [str(problem) for problem in caught.value.problems]


TARGETS = np.array([0, 0, 0, 0, 1, 1, 2])


def test_task_and_loss_are_filled_in():
    recipe = planned(Fitted(TARGETS), Train(), Train(loss="cross_entropy")).recipe
    assert recipe.task == "classification"
    assert [step.loss for step in recipe.steps[1:]] == ["cross_entropy"] * 2
    recipe = planned(Fitted(np.ones((4, 1), np.float32), "regression", ("size",))).recipe
    assert (recipe.task, recipe.steps[1].loss) == ("regression", "mean_squared_error")


def test_classes_stay_as_they_are():
    data = Fitted(TARGETS)
    assert data.state.label_counts == (4, 2, 1)
    np.testing.assert_array_equal(data.targets(data.train), TARGETS)


def test_a_class_without_training_examples_is_counted():
    assert Fitted(np.array([0, 0, 2])).state.label_counts == (2, 0, 1)


def test_balanced_weights_are_those_of_scikit_learn():
    data = Fitted(TARGETS, valid=[2, 0])
    expected = compute_sample_weight("balanced", TARGETS)
    weights = data.weights(data.train, "balanced")
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    held_out = data.weights(data.valid, "balanced")
    np.testing.assert_allclose(held_out, [expected[-1], expected[0]], rtol=1e-6)


def test_weights_by_label_are_1_where_nothing_is_said():
    data = Fitted(TARGETS)
    weights = data.weights(data.train, {"dog": 5.0, "bird": 0.5})
    assert weights.tolist() == [0.5, 0.5, 0.5, 0.5, 1.0, 1.0, 5.0]


@pytest.mark.parametrize("said", [None, "none"])
def test_no_weights(said):
    data = Fitted(TARGETS)
    assert data.weights(data.train, said).tolist() == [1.0] * 7


def test_values_are_scaled_as_by_scikit_learn():
    targets = np.random.default_rng(0).normal(size=(50, 3)) * [1, 100, 1e-3] + [0, 5e3, 1]
    data = Fitted(targets, "regression", ("a", "b", "c"))
    expected = StandardScaler().fit_transform(targets)
    scaled = data.targets(data.train)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, expected, atol=1e-5)
    assert data.weights(data.train, "none").tolist() == [1.0] * 50


def test_a_constant_output_is_moved_but_not_stretched():
    data = Fitted(np.full((700_000, 2), [7.0, 0.1]), "regression", ("size", "age"))
    assert data.state.mean == pytest.approx((7.0, 0.1))
    assert data.state.scale == (1.0, 1.0)
    assert np.abs(data.targets(data.train)).max() < 1e-12


@pytest.mark.parametrize("near", [1_700_000_000 + 1e-3 * np.arange(9), 1e-47 * np.arange(9)])
def test_values_that_lie_close_together_are_told_apart(near):
    data = Fitted(near[:, None], "regression", ("time",))
    scaled = data.targets(data.train)
    expected = (np.arange(9) - 4) / np.arange(9).std()
    np.testing.assert_allclose(scaled[:, 0], expected, atol=1e-3)


def test_other_data_is_scaled_like_the_training_data():
    data = Fitted(np.array([[0.0], [2.0]]), "regression", ("size",), valid=[[5.0]])
    assert data.targets(data.valid).tolist() == [[4.0]]


LABEL_SETS = np.array([[1, 0, 1], [1, 0, 0], [1, 1, 0], [0, 0, 0]], bool)


def test_labels_stay_as_they_are():
    data = Fitted(LABEL_SETS, "multi_label")
    recipe = planned(data).recipe
    assert (recipe.task, recipe.steps[1].loss) == ("multi_label", "binary_cross_entropy")
    assert (data.state.label_counts, data.state.examples) == ((3, 1, 1), 4)
    np.testing.assert_array_equal(data.targets(data.train), LABEL_SETS)
    assert data.weights(data.train, None).tolist() == [1.0] * 4


def test_balanced_label_weights_are_those_of_scikit_learn_for_each_label():
    data = Fitted(LABEL_SETS, "multi_label", valid=[[True, True, False]])
    weights = data.weights(data.train, "balanced")
    expected = [compute_sample_weight("balanced", label) for label in LABEL_SETS.T]
    np.testing.assert_allclose(weights, np.array(expected).T, rtol=1e-6)
    held_out = data.weights(data.valid, "balanced")
    np.testing.assert_allclose(held_out, [[4 / 6, 4 / 2, 4 / 6]], rtol=1e-6)


def test_a_label_weighs_where_it_is():
    data = Fitted(LABEL_SETS, "multi_label")
    weights = data.weights(data.train, {"bird": 5.0})
    assert weights.tolist() == [[5, 1, 1], [5, 1, 1], [5, 1, 1], [1, 1, 1]]
    assert messages(data, Train(class_weights={"horse": 2.0}, loss="cross_entropy")) == [
        "loss: cross_entropy does not go with multi_label, which takes binary_cross_entropy",
        'class_weights: no label is called "horse" (the labels: bird, cat, dog)',
    ]


def test_a_loss_that_does_not_go_with_the_data():
    assert messages(Fitted(TARGETS), Train(loss="mean_squared_error")) == [
        "loss: mean_squared_error does not go with classification, which takes cross_entropy"
    ]
    values = Fitted(np.ones((4, 1), np.float32), "regression", ("size",))
    assert messages(values, Train(loss="cross_entropy", class_weights="balanced")) == [
        "loss: cross_entropy does not go with regression, which takes mean_squared_error",
        "class_weights: a regression has no classes",
    ]


def test_a_weight_for_no_class_is_told_once():
    weighted = Train(class_weights={"dgo": 2.0, "horse": 1.0, "cat": 3.0})
    assert messages(Fitted(TARGETS), weighted, weighted) == [
        'class_weights: no class is called "dgo", did you mean "dog"?',
        'class_weights: no class is called "horse" (the classes: bird, cat, dog)',
    ]
