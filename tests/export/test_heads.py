"""Heads in a graph against the same heads in a trained model, on tables that need no network."""

import numpy as np
import pytest
import sklearn  # noqa: F401 - sets variables when it is imported

import transfer_core
from exported import Exported, assert_same

pytestmark = [pytest.mark.extras, pytest.mark.slow]

HEADS = {
    "linear": {"type": "linear"},
    "logistic": {"type": "logistic"},
    "mlp": {"type": "mlp", "hidden": [8, 5]},
    "svm": {"type": "svm"},
    "linear svm": {"type": "svm", "kernel": "linear"},
    "forest": {"type": "random_forest", "trees": 20},
    "boosting": {"type": "gradient_boosting", "trees": 15},
    "knn": {"type": "knn", "neighbors": 5},
}
CITIES = ("Paris", "Rome", "Zürich", "Oslo")


def rows(task, count=90, seed=0):
    """Rows with gaps; the target depends on all columns."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        size, weight, city = rng.normal(5, 2), rng.normal(50, 20), int(rng.integers(4))
        value = size + weight / 20 + 2 * city + rng.normal(0, 0.5)
        row = {
            "size": None if rng.random() < 0.1 else float(size),
            "weight": None if rng.random() < 0.1 else float(weight),
            "city": None if rng.random() < 0.1 else CITIES[city],
        }
        yield {"input": row, "label": target(task, value, city)}


def target(task, value, city):
    if task == "regression":
        return [float(value), float(-1000 * value)]
    if task == "multi_label":
        return [name for name, holds in (("large", value > 10), ("warm", city < 2)) if holds]
    return ("small", "middle", "large")[int(value > 8) + int(value > 12)]


QUESTIONS = [
    {"size": 5.0, "weight": 50.0, "city": "Paris"},
    {"size": None, "weight": 61.5, "city": "Zürich"},
    {"size": -3.25, "weight": None, "city": None},
    {"size": 9.0, "weight": 90.0, "city": "nowhere"},
    {"size": None, "weight": None, "city": ""},
]


def assert_exported(tmp_path, task, head, backbone="sklearn:ColumnTransformer"):
    model = transfer_core.train(backbone=backbone, data=list(rows(task)), task=task, head=head)
    report = model.export(tmp_path / "m.onnx")
    assert report.bytes == (tmp_path / "m.onnx").stat().st_size
    exported = Exported(tmp_path / "m.onnx")
    assert exported.metadata["labels"] == list(model.labels)
    questions = QUESTIONS + [row["input"] for row in rows(task, 30, seed=1)]
    for question in questions:
        found = exported.of_row(question)
        assert_same(found, model.predict(question), model.labels)
        assert np.abs(found["embedding"][0] - model.embed(question)).max() < 1e-5
    return exported


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
@pytest.mark.parametrize("task", ["classification", "multi_label", "regression"])
def test_head(tmp_path, task, head):
    if task == "regression" and head["type"] == "logistic":
        pytest.skip("logistic is for labels")
    assert_exported(tmp_path, task, head)


@pytest.mark.parametrize("head", ["prototype", "cosine"])
def test_head_of_class_means(tmp_path, head):
    assert_exported(tmp_path, "classification", {"type": head})


def test_columns_are_described(tmp_path):
    exported = assert_exported(tmp_path, "classification", HEADS["linear"])
    assert exported.metadata["columns"] == [
        {"name": "city", "type": "category"},
        {"name": "size", "type": "number"},
        {"name": "weight", "type": "number"},
    ]
    assert exported.metadata["task"] == "classification"
    assert exported.metadata["state"]["temperature"] > 0
    assert len(exported.metadata["state"]["nonconformity"]) > 10
