"""Trainings with a source and a target domain, through the public API, on tables with a known shift."""

from __future__ import annotations

import csv

import numpy as np
import pytest

import transfer_core
from transfer_core.runtime.errors import DataError, RecipeError

pytest.importorskip("sklearn.decomposition")  # whose first import sets variables of the environment

WIDTH = 6
METHODS = ["coral", "optimal_transport", "mixture", "mcc", "propagation", "ensemble", "mmd", "dann", "auto"]


def table(path, rows, classes=None):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        names = [f"x{i}" for i in range(rows.shape[1])]
        writer.writerow([*names, "label"] if classes is not None else names)
        for row, one in zip(rows, classes if classes is not None else rows, strict=True):
            cells = [f"{value:.6f}" for value in row]
            writer.writerow([*cells, one] if classes is not None else cells)
    return str(path)


def drawn(rng, count, shift=0):
    """Three classes; the target's features are turned and moved."""
    classes = rng.integers(3, size=count)
    centres = np.eye(3, WIDTH) * 5
    rows = centres[classes] + rng.normal(size=(count, WIDTH))
    turn, signs = np.linalg.qr(np.eye(WIDTH) + 0.2 * np.random.default_rng(9).normal(size=(WIDTH, WIDTH)))
    moved = rows @ (turn * np.sign(np.diag(signs))) + shift * np.array([4, -2, 0, 0, 1, 0]) if shift else rows
    return moved, np.array(["a", "b", "c"])[classes]


@pytest.fixture(scope="module")
def shifted(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("shifted"), np.random.default_rng(0)
    source, target = drawn(rng, 240), drawn(rng, 240, 1)
    test = drawn(rng, 150, 1)
    few = (target[0][:30], target[1][:30])
    return {
        "source": table(folder / "source.csv", *source),
        "bare": table(folder / "bare.csv", target[0]),
        "few": table(folder / "few.csv", *few),
        "test": table(folder / "test.csv", *test),
    }


def train(files, train="bare", **words):
    data = {"train": files[train], "test": files["test"]}
    return transfer_core.train(
        backbone="sklearn:StandardScaler", data=data, source=files["source"], device="cpu", **words
    )


@pytest.mark.parametrize("method", METHODS)
def test_adaptation_finds_a_shifted_target_again(shifted, method):
    metrics = train(shifted, adapt=method).metrics
    assert metrics["source_only"]["accuracy"] < 0.75
    assert metrics["accuracy"] > metrics["source_only"]["accuracy"] + 0.1
    assert "target_only" not in metrics


@pytest.mark.parametrize("method", ["subspace", "tca"])
def test_common_spaces_are_folded_into_an_ordinary_head(shifted, method, tmp_path):
    model = train(shifted, adapt={"method": method, "components": 4})
    model.save(tmp_path / "m.transfer")
    rows = {f"x{i}": 1.0 for i in range(WIDTH)}
    assert transfer_core.load(tmp_path / "m.transfer").predict(rows) == model.predict(rows)
    assert set(model.metrics["source_only"]) == {"accuracy", "macro_f1"}


def test_labels_of_the_target_are_used_and_compared_with(shifted):
    metrics = train(shifted, train="few", adapt="coral").metrics
    assert metrics["accuracy"] > 0.9
    assert set(metrics) >= {"source_only", "target_only"}


@pytest.mark.parametrize("method", ["kmm", "kliep", "ulsif", "discriminator", "label_shift"])
def test_weights_of_the_source(shifted, method):
    assert train(shifted, weigh=method).metrics["source_only"]


def test_tradaboost_needs_labels_of_the_target(shifted):
    assert train(shifted, train="few", weigh="tradaboost").metrics["accuracy"] > 0.8
    with pytest.raises(RecipeError, match="tradaboost needs labelled examples of the target"):
        train(shifted, weigh="tradaboost")


def test_automatic_adaptation_leaves_equal_domains_alone(shifted):
    data = {"train": shifted["source"], "test": shifted["test"]}
    model = transfer_core.train(
        backbone="sklearn:StandardScaler", data=data, source=shifted["source"], adapt="auto", device="cpu"
    )
    assert any("do not differ significantly" in warning for warning in model.warnings)


def test_automatic_adaptation_names_its_criterion(shifted):
    warnings = train(shifted, adapt="auto").warnings
    assert any("by reverse validation (accuracy" in warning for warning in warnings)


def test_class_methods_are_refused_for_a_regression(tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 3))
    source = table(tmp_path / "source.csv", rows, rows[:, 0] * 2.5)
    target = table(tmp_path / "target.csv", rows + 1)
    words = {"backbone": "sklearn:StandardScaler", "data": target, "source": source, "task": "regression"}
    for word, method in (("adapt", "mcc"), ("adapt", "mixture"), ("weigh", "label_shift")):
        with pytest.raises(RecipeError, match="is for classification, and the task is regression"):
            transfer_core.train(**words, **{word: method})
    assert transfer_core.train(**words, adapt="coral").labels


def test_a_domain_without_inputs_is_refused(shifted):
    with pytest.raises(RecipeError, match="needs a labelled source domain"):
        transfer_core.train(backbone="sklearn:StandardScaler", data=shifted["few"], adapt="coral")


def test_an_empty_source_is_refused(shifted, tmp_path):
    (tmp_path / "empty.csv").write_text("x0,label\n")
    with pytest.raises(DataError, match="has no rows"):
        transfer_core.train(
            backbone="sklearn:StandardScaler", data=shifted["few"], source=str(tmp_path / "empty.csv")
        )


def test_comparison_of_shifted_domains(shifted):
    found = transfer_core.compare_domains(
        shifted["source"], shifted["bare"], backbone="sklearn:StandardScaler"
    )
    assert found.sizes == (240, 240)
    assert found.proxy_a_distance > 1
    assert found.p_value < 0.01
    assert {one["feature"] for one in found.features[:3]} == {0, 1, 4}
    assert found.confidence["accuracy"] > 0.9
    assert found.classes["a"]["share"][1] is None
    assert "proxy A-distance" in str(found)
    assert "source.csv line" in found.typical["first"][0]


def test_comparison_of_a_domain_with_itself(shifted):
    found = transfer_core.compare_domains(
        shifted["source"], shifted["source"], backbone="sklearn:StandardScaler"
    )
    assert found.proxy_a_distance == 0
    assert found.p_value > 0.5
    assert found.classes["a"]["share"][0] == found.classes["a"]["share"][1]
    assert found.to_dict()["sizes"] == [240, 240]


def test_a_model_lists_the_weights_of_its_source(shifted, tmp_path):
    model = train(shifted, weigh={"method": "discriminator", "limit": 5})
    found = model.instance_weights
    weights = [one.weight for one in found.most]
    assert (found.method, found.examples, len(found.most)) == ("discriminator", 240, 240)
    assert weights == sorted(weights, reverse=True)
    assert found.least[0].weight == weights[-1]
    assert np.mean(weights) == pytest.approx(1, abs=0.01)
    assert found.effective == pytest.approx(np.sum(weights) ** 2 / np.sum(np.square(weights)))
    # Those of use resemble the target, whose first feature is larger.
    first = [float(one.input.split(",")[0]) for one in (*found.most[:20], *found.least[:20])]
    assert np.mean(first[:20]) > np.mean(first[20:])
    model.save(tmp_path / "m.transfer")
    loaded = transfer_core.load(tmp_path / "m.transfer")
    assert loaded.instance_weights == found
    assert loaded.summary()["instance_weights"]["effective"] == found.effective
    assert train(shifted).instance_weights is None
