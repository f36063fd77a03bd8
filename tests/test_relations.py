"""Distillation, label maps and soups through the public API, on tables and small photos."""

from __future__ import annotations

import csv

import numpy as np
import pytest

import transfer_core
from transfer_core.runtime.errors import ConfigurationError, DataError, RecipeError

pytest.importorskip("sklearn.decomposition")  # whose first import sets variables of the environment

WIDTH = 8
TABLE = "sklearn:StandardScaler"


def table(path, rows, labels=None):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        names = [f"x{i}" for i in range(rows.shape[1])]
        writer.writerow(names if labels is None else [*names, "label"])
        for number, row in enumerate(rows):
            cells = [f"{value:.6f}" for value in row]
            writer.writerow(cells if labels is None else [*cells, labels[number]])
    return str(path)


def drawn(rng, count):
    """Three classes that overlap."""
    classes = rng.integers(3, size=count)
    rows = np.eye(3, WIDTH)[classes] * 1.5 + rng.normal(size=(count, WIDTH))
    return rows, np.array(["a", "b", "c"])[classes]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Few training rows, many unlabelled ones, test rows, and a teacher that saw many labels."""
    folder, rng = tmp_path_factory.mktemp("relations"), np.random.default_rng(0)
    few, many, test = drawn(rng, 30), drawn(rng, 600), drawn(rng, 300)
    files = {
        "few": table(folder / "few.csv", *few),
        "many": table(folder / "many.csv", *many),
        "bare": table(folder / "bare.csv", many[0]),
        "test": table(folder / "test.csv", *test),
    }
    teacher = transfer_core.train(backbone=TABLE, data={"train": files["many"], "test": files["test"]})
    return {**files, "teacher": teacher}


def student(files, **words):
    return transfer_core.train(backbone=TABLE, data={"train": files["few"], "test": files["test"]}, **words)


def test_a_student_of_few_labels_is_better_with_its_teacher(tables):
    teacher = tables["teacher"]
    alone = student(tables).metrics["accuracy"]
    words = {"from": str(teacher.path), "relation": "kd", "strength": 0.9}
    with_labels = student(tables, distill=words).metrics["accuracy"]
    with_more = student(tables, distill=words, unlabelled=tables["bare"])
    assert with_labels > alone
    assert with_more.metrics["accuracy"] > alone + 0.05
    assert with_more.header.data.parts[0].name == "unlabelled"
    assert with_more.recipe.distill.digest


def test_a_student_agrees_with_a_teacher_that_it_is_trained_on_alone(tables):
    words = {"from": str(tables["teacher"].path), "strength": 1.0, "temperature": 1.0}
    model = student(tables, distill=words, unlabelled=tables["bare"], head={"type": "linear"})
    with open(tables["test"]) as file:
        rows = [{k: float(v) for k, v in row.items() if k != "label"} for row in csv.DictReader(file)]
    scores = [
        np.array([[one["scores"][label] for label in "abc"] for one in of.predict(rows)])
        for of in (model, tables["teacher"])
    ]
    assert np.abs(scores[0] - scores[1]).mean() < 0.05


def test_a_backbone_alone_teaches_with_a_head_of_its_own(tables):
    found = student(tables, distill={"from": TABLE, "relation": ["kd"]}, head="mlp", epochs=20)
    assert found.metrics["accuracy"] > 0.5
    assert "accuracy" in found.history[-1]


def test_a_student_of_a_regression(tmp_path):
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(120, WIDTH))
    values = rows @ np.arange(WIDTH) + 40
    files = [
        table(tmp_path / f"{n}.csv", rows[part], values[part])
        for n, part in enumerate((slice(0, 24), slice(24, 80), slice(80, 120)))
    ]
    teacher = transfer_core.train(backbone=TABLE, data={"train": files[1], "test": files[2]})
    found = transfer_core.train(
        backbone=TABLE,
        data={"train": files[0], "test": files[2]},
        distill=str(teacher.path),
    )
    assert found.metrics["r2"] > 0.99


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"distill": {"from": "/nowhere.transfer"}}, "there is no saved model /nowhere.transfer"),
        ({"distill": {"from": TABLE, "relation": "rkd"}}, "rkd compares embeddings, which a frozen backbone"),
        ({"distill": {"relation": "kd"}}, "distill.from: is missing"),
        ({"distill": {"from": "mobilenet_v2"}}, "the teacher takes images, the student rows"),
        ({"distill": {"from": TABLE}, "head": "svm"}, "distill needs a linear or mlp head"),
        ({"distill": {"from": TABLE}, "source": "x.csv"}, "is for data of one domain"),
        ({"regularize": "l2_sp"}, "no block of the backbone trains"),
        ({"regularize": "l1"}, "unknown regularize"),
        ({"reuse": {"first": 1, "last": 1}}, "takes one of first, last, blocks"),
    ],
)
def test_wrong_words_are_explained(tables, words, message):
    with pytest.raises(RecipeError, match=message):
        student(tables, **words)


def test_a_teacher_of_other_labels_is_refused(tables, tmp_path):
    rng = np.random.default_rng(2)
    rows, labels = drawn(rng, 60)
    other = table(tmp_path / "other.csv", rows, np.char.upper(labels))
    with pytest.raises(RecipeError, match='the teacher has the classes "a", "b", "c", and the data "A"'):
        transfer_core.train(backbone=TABLE, data=other, distill=str(tables["teacher"].path))


def test_labels_are_mapped_by_their_prototypes(tmp_path):
    rng = np.random.default_rng(3)
    rows, labels = drawn(rng, 300)
    names = {"a": "alpha", "b": "beta", "c": "c"}
    first = table(tmp_path / "first.csv", rows[:150] + 7, [names[label] for label in labels[:150]])
    second = table(tmp_path / "second.csv", rows[150:], labels[150:])
    found = transfer_core.map_labels(first, second, backbone=TABLE)
    assert found.names == {"alpha": "a", "beta": "b"}
    assert [pair.source for pair in found.pairs] == ["alpha", "beta", "c"]
    assert found.pairs[0].affinity > 0.7 > found.pairs[0].second_affinity
    assert str(found).splitlines()[0].split()[:3] == ["source", "target", "affinity"]
    other = found.corrected({"alpha": "b"})
    assert other.names == {"alpha": "b", "beta": "b"}
    with pytest.raises(RecipeError, match='there is no label "alhpa", did you mean "alpha"'):
        found.corrected({"alhpa": "a"})
    model = transfer_core.train(
        backbone=TABLE, data=second, source=first, map_labels=found, split={"near_duplicates": False}
    )
    assert model.labels == ("a", "b", "c")


def test_soups_of_heads_average_and_select(tables, tmp_path):
    models = [
        transfer_core.train(
            backbone=TABLE, data={"train": tables["many"], "test": tables["test"]}, head=head, seed=seed
        )
        for seed, head in ((1, {"type": "linear"}), (2, {"type": "linear"}))
    ]
    uniform = transfer_core.soup(models, data=tables["test"], method="uniform")
    expected = np.mean([model.head.state_dict()["0.weight"] for model in models], axis=0)
    assert uniform.head.state_dict()["0.weight"] == pytest.approx(expected, rel=1e-6)
    assert uniform.header.sizes == {"valid": 150, "test": 150}
    worse = student(tables)
    greedy = transfer_core.soup([models[0], worse], data=tables["test"])
    assert greedy.history[0]["kept"]
    assert greedy.metrics["accuracy"] >= 0.7
    mlp = transfer_core.train(backbone=TABLE, data=tables["few"], head="mlp", epochs=1, seed=1)
    with pytest.raises(ConfigurationError, match="have different head"):
        transfer_core.soup([models[0], mlp], data=tables["test"])
    with pytest.raises(ConfigurationError, match="needs two models or more"):
        transfer_core.soup(models[:1], data=tables["test"])
    rows, labels = drawn(np.random.default_rng(4), 12)
    with pytest.raises(DataError, match="needs 20 labelled examples"):
        transfer_core.soup(models, data=table(tmp_path / "x.csv", rows, labels))
