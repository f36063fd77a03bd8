from decimal import Decimal

import numpy as np
import pytest

from transfer_core.data.example import Cell, Example
from transfer_core.recipe.parser import parse_recipe
from transfer_core.recipe.schema import Columns
from transfer_core.runtime.errors import DataError
from transfer_core.tasks import TASKS, choose_task


def decide_task(recipe, labels):
    task, warning = choose_task(recipe, labels)
    return task.name, warning


def class_indices(examples, labels=None):
    return TASKS["classification"].encode(examples, Columns(), labels)


def values(examples, columns):
    return TASKS["regression"].encode(examples, columns)


def recipe(**words):
    return parse_recipe({"data": "photos", "backbone": "mobilenet_v2", **words})


def examples(*labels):
    return [Example(f"{i}.jpg", label, None, f"row {i}") for i, label in enumerate(labels, start=1)]


def cells(*texts):
    return [Cell(text) for text in texts]


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        (["cat", "dog"], "classification"),
        ([1, 2], "classification"),
        ([1.0, 2.0], "classification"),
        ([True, False], "classification"),
        (["1.5", "2.5"], "classification"),
        ([1.5, "cat"], "classification"),
        (cells("1", "2"), "classification"),
        (cells("1_5", "2.5"), "classification"),
        (cells("nan", "cat"), "classification"),
        ([1, 2.5], "regression"),
        ([Decimal("2.5"), 1], "regression"),
        ([np.float32(2.5), np.int64(1)], "regression"),
        (cells("1", "2.5"), "regression"),
        (cells("1e-3", "7"), "regression"),
        ([[1, 2], [3, 4]], "regression"),
        ([tuple(cells("1", "2"))], "regression"),
        ([np.array([1.0, 2.0])], "regression"),
        ([["cat", "dog"], []], "multi_label"),
        ([[], ["cat"]], "multi_label"),
        ([[], []], "multi_label"),
        ([[], [1, 2]], "regression"),
        ([("1", "2")], "multi_label"),
        ([np.array(["cat", "dog"])], "multi_label"),
        ([{"cat"}], "multi_label"),
        (cells("cat|dog", "cat"), "classification"),
    ],
)
def test_the_task_that_labels_look_like(labels, task):
    assert decide_task(recipe(), labels)[0] == task


def test_what_the_recipe_says_counts_more():
    step = {"type": "train", "loss": "mean_squared_error"}
    assert decide_task(recipe(task="regression"), ["cat"]) == ("regression", None)
    assert decide_task(recipe(task="classification"), [1.5]) == ("classification", None)
    assert decide_task(recipe(steps=[{"type": "freeze"}, step]), [1, 2]) == ("regression", None)
    assert decide_task(recipe(train={"loss": "mean_squared_error"}), [1, 2]) == ("regression", None)
    assert decide_task(recipe(train={"loss": "cross_entropy"}), [1.5, 2]) == ("classification", None)
    assert decide_task(recipe(task="multi_label"), cells("cat|dog")) == ("multi_label", None)
    assert decide_task(recipe(train={"loss": "binary_cross_entropy"}), [[1, 0]]) == ("multi_label", None)


def test_class_names_are_the_labels_as_text():
    found = examples("b", 10, 2.0, True, Cell(" a "), np.int64(7), 1.5, "cafe\u0301")
    labels, indices = class_indices(found)
    assert labels == ("1.5", "10", "2", "7", "a", "b", "caf\u00e9", "true")
    assert [labels[i] for i in indices] == ["b", "10", "2", "true", "a", "7", "1.5", "caf\u00e9"]
    assert indices.dtype == np.int64


def test_classes_of_a_trained_model():
    labels, indices = class_indices(examples("b"), ["c", "b", "a"])
    assert (labels, indices.tolist()) == (("c", "b", "a"), [1])
    with pytest.raises(DataError) as raised:
        class_indices(examples("b", "d", "e"), ["a", "b"])
    assert str(raised.value) == 'the model has no class "d", "e" (its classes: "a", "b")'


def test_values_of_one_output():
    names, targets = values(examples(1, 2.5, "3.5", Cell("-4e2"), Decimal("0.5")), Columns(target="age"))
    assert names == ("age",)
    np.testing.assert_array_equal(targets, np.array([[1], [2.5], [3.5], [-400], [0.5]]))
    assert targets.dtype == np.float64


@pytest.mark.parametrize("near", [[1_700_000_000.5, 1_700_000_001.5], [1e-47, 2e-47]])
def test_values_keep_64_bits(near):
    assert values(examples(*near), Columns())[1][:, 0].tolist() == near


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b"cat", "a label is text or a number, got bytes"),
        ({"name": "cat"}, "a label is text or a number, got dict"),
        ("\ud83d", 'the label "\\ud83d" is not valid text'),
    ],
)
def test_labels_that_are_no_text(bad, message):
    with pytest.raises(DataError) as raised:
        class_indices(examples("cat", bad))
    assert str(raised.value) == f"row 2: {message}"


def test_names_of_several_outputs():
    assert values(examples([1, 2]), Columns())[0] == ("label_1", "label_2")
    assert values(examples(tuple(cells("1", "2"))), Columns(target=("x", "y")))[0] == ("x", "y")


@pytest.mark.parametrize("bad", [None, "", "  ", float("nan"), [], ["a", "b"]])
def test_labels_that_are_no_class(bad):
    message = {
        "list": "a list as label, but classification takes one label each "
        "(for several say task: :multi_label, for numbers task: :regression)",
        "float": "the label is NaN",
    }.get(type(bad).__name__, "the label is empty")
    with pytest.raises(DataError) as raised:
        class_indices(examples("cat", bad))
    assert str(raised.value) == f"row 2: {message}"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (None, "the label is empty"),
        ([], "the label is empty"),
        ([1.0, ""], "the label is empty"),
        (
            "cat",
            'the label "cat" is not a number, as regression needs (for classes say task: :classification)',
        ),
        (
            True,
            'the label "True" is not a number, as regression needs (for classes say task: :classification)',
        ),
        (float("nan"), "the label is NaN"),
        (Cell("nan"), "the label is NaN"),
        (Cell("inf"), "the label inf is not a finite 32-bit number"),
        (1e39, "the label 1e+39 is not a finite 32-bit number"),
        ([1, 2], "2 outputs, but row 1 has 1; each needs the same outputs"),
    ],
)
def test_labels_that_are_no_value(bad, message):
    with pytest.raises(DataError) as raised:
        values(examples(1.5, bad), Columns())
    assert str(raised.value) == f"row 2: {message}"
