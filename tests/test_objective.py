"""Class weights and scaled targets against scikit-learn, and what can't be asked of the data."""

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

from transfer_core.data import Dataset, DataSplits
from transfer_core.recipe.schema import Freeze, PathSource, Recipe, Train
from transfer_core.runtime.errors import RecipeError
from transfer_core.tasks.objective import choose_objective

LABELS = ("bird", "cat", "dog")


def dataset(targets):
    names = tuple(f"{i}.png" for i in range(len(targets)))
    return Dataset(names, names, np.asarray(targets))


def splits(targets, task="classification", labels=LABELS, valid=()):
    return DataSplits(
        task=task,
        labels=labels,
        train=dataset(targets),
        valid=dataset(np.asarray(valid, np.asarray(targets).dtype)),
        test=dataset(np.asarray(targets)[:0]),
        test_name="test",
        skipped=(),
    )


def chosen(data, *trains):
    recipe = Recipe(data=PathSource("p"), backbone="b", steps=(Freeze(), *(trains or (Train(),))))
    return choose_objective(recipe, data)


def messages(data, *trains):
    with pytest.raises(RecipeError) as caught:
        chosen(data, *trains)
    return [str(problem) for problem in caught.value.problems]


TARGETS = np.array([0, 0, 0, 0, 1, 1, 2])


def test_task_and_loss_are_filled_in():
    recipe, _ = chosen(splits(TARGETS), Train(), Train(loss="cross_entropy"))
    assert recipe.task == "classification"
    assert [step.loss for step in recipe.steps[1:]] == ["cross_entropy"] * 2
    recipe, _ = chosen(splits(np.ones((4, 1), np.float32), "regression", ("size",)))
    assert (recipe.task, recipe.steps[1].loss) == ("regression", "mean_squared_error")


def test_classes_stay_as_they_are():
    data = splits(TARGETS)
    _, objective = chosen(data)
    assert objective.labels == LABELS
    assert objective.train_counts == (4, 2, 1)
    np.testing.assert_array_equal(objective.targets(data.train), TARGETS)


def test_a_class_without_training_examples_is_counted():
    assert chosen(splits(np.array([0, 0, 2])))[1].train_counts == (2, 0, 1)


def test_balanced_weights_are_those_of_scikit_learn():
    data = splits(TARGETS, valid=[2, 0])
    _, objective = chosen(data)
    expected = compute_sample_weight("balanced", TARGETS)
    weights = objective.weights(data.train, Train(class_weights="balanced"))
    assert weights.dtype == torch.float32
    np.testing.assert_allclose(weights.numpy(), expected, rtol=1e-6)
    held_out = objective.weights(data.valid, Train(class_weights="balanced"))
    np.testing.assert_allclose(held_out.numpy(), [expected[-1], expected[0]], rtol=1e-6)


def test_weights_by_label_are_1_where_nothing_is_said():
    data = splits(TARGETS)
    _, objective = chosen(data)
    weights = objective.weights(data.train, Train(class_weights={"dog": 5.0, "bird": 0.5}))
    assert weights.tolist() == [0.5, 0.5, 0.5, 0.5, 1.0, 1.0, 5.0]


@pytest.mark.parametrize("said", [None, "none"])
def test_no_weights(said):
    data = splits(TARGETS)
    assert chosen(data)[1].weights(data.train, Train(class_weights=said)).tolist() == [1.0] * 7


def test_values_are_scaled_as_by_scikit_learn():
    targets = np.random.default_rng(0).normal(size=(50, 3)) * [1, 100, 1e-3] + [0, 5e3, 1]
    data = splits(targets, "regression", ("a", "b", "c"))
    _, objective = chosen(data)
    expected = StandardScaler().fit_transform(targets)
    scaled = objective.targets(data.train)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, expected, atol=1e-5)
    assert objective.weights(data.train, Train(class_weights="none")).tolist() == [1.0] * 50


def test_a_constant_output_is_moved_but_not_stretched():
    data = splits(np.full((700_000, 2), [7.0, 0.1]), "regression", ("size", "age"))
    _, objective = chosen(data)
    assert objective.scaling.mean == pytest.approx((7.0, 0.1))
    assert objective.scaling.scale == (1.0, 1.0)
    assert np.abs(objective.targets(data.train)).max() < 1e-12


@pytest.mark.parametrize("near", [1_700_000_000 + 1e-3 * np.arange(9), 1e-47 * np.arange(9)])
def test_values_that_lie_close_together_are_told_apart(near):
    data = splits(near[:, None], "regression", ("time",))
    scaled = chosen(data)[1].targets(data.train)
    expected = (np.arange(9) - 4) / np.arange(9).std()
    np.testing.assert_allclose(scaled[:, 0], expected, atol=1e-3)


def test_other_data_is_scaled_like_the_training_data():
    data = splits(np.array([[0.0], [2.0]]), "regression", ("size",), valid=[[5.0]])
    assert chosen(data)[1].targets(data.valid).tolist() == [[4.0]]


LABEL_SETS = np.array([[1, 0, 1], [1, 0, 0], [1, 1, 0], [0, 0, 0]], bool)


def test_labels_stay_as_they_are():
    data = splits(LABEL_SETS, "multi_label")
    recipe, objective = chosen(data)
    assert (recipe.task, recipe.steps[1].loss) == ("multi_label", "binary_cross_entropy")
    assert (objective.train_counts, objective.train_size) == ((3, 1, 1), 4)
    np.testing.assert_array_equal(objective.targets(data.train), LABEL_SETS)
    assert objective.weights(data.train, Train()).tolist() == [1.0] * 4


def test_balanced_label_weights_are_those_of_scikit_learn_for_each_label():
    data = splits(LABEL_SETS, "multi_label", valid=[[True, True, False]])
    weights = chosen(data)[1].weights(data.train, Train(class_weights="balanced"))
    expected = [compute_sample_weight("balanced", label) for label in LABEL_SETS.T]
    np.testing.assert_allclose(weights.numpy(), np.array(expected).T, rtol=1e-6)
    held_out = chosen(data)[1].weights(data.valid, Train(class_weights="balanced"))
    np.testing.assert_allclose(held_out.numpy(), [[4 / 6, 4 / 2, 4 / 6]], rtol=1e-6)


def test_a_label_weighs_where_it_is():
    data = splits(LABEL_SETS, "multi_label")
    weights = chosen(data)[1].weights(data.train, Train(class_weights={"bird": 5.0}))
    assert weights.tolist() == [[5, 1, 1], [5, 1, 1], [5, 1, 1], [1, 1, 1]]
    assert messages(data, Train(class_weights={"horse": 2.0}, loss="cross_entropy")) == [
        "loss: cross_entropy does not go with multi_label, which takes binary_cross_entropy",
        'class_weights: no label is called "horse" (the labels: bird, cat, dog)',
    ]


def test_a_loss_that_does_not_go_with_the_data():
    assert messages(splits(TARGETS), Train(loss="mean_squared_error")) == [
        "loss: mean_squared_error does not go with classification, which takes cross_entropy"
    ]
    values = splits(np.ones((4, 1), np.float32), "regression", ("size",))
    assert messages(values, Train(loss="cross_entropy", class_weights="balanced")) == [
        "loss: cross_entropy does not go with regression, which takes mean_squared_error",
        "class_weights: a regression has no classes",
    ]


def test_a_weight_for_no_class_is_told_once():
    weighted = Train(class_weights={"dgo": 2.0, "horse": 1.0, "cat": 3.0})
    assert messages(splits(TARGETS), weighted, weighted) == [
        'class_weights: no class is called "dgo", did you mean "dog"?',
        'class_weights: no class is called "horse" (the classes: bird, cat, dog)',
    ]
