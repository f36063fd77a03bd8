"""The tasks beyond one label, from data to a saved model: label sets, several values, sets and intervals."""

import json
import os
import subprocess
import sys
from copy import deepcopy
from functools import partial

import msgspec
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, label_ranking_average_precision_score

import transfer_core
from photos import COLORS, pixels, png
from tiny_backbone import tiny_backbone
from transfer_core import backbones
from transfer_core.metrics.thresholds import best_thresholds
from transfer_core.model_file.format import read_model
from transfer_core.runs import checkpoints
from transfer_core.runtime.errors import Cancelled, RecipeError

pytestmark = pytest.mark.slow

NAMES = sorted(COLORS)


def stripes(names, seed):
    """Grey with a stripe for each name, somewhere, so thin that some are overlooked."""
    rng = np.random.default_rng(seed)
    picture = pixels((150, 150, 150), seed, noise=60)
    for name in names:
        at = rng.integers(60)
        picture[:, at : at + 4] = pixels(COLORS[name], seed + 1, noise=60)[:, :4]
    return png(picture)


def labelled(count, seed=0):
    """Rows with none to three of the labels."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        names = [name for name, share in zip(NAMES, (0.5, 0.35, 0.2), strict=True) if rng.random() < share]
        yield {"input": stripes(names, 1000 * seed + i), "label": names}


def greys(count, seed=0):
    """Rows with how grey the left half is, and a hundred times how grey the right half is."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        left, right = rng.uniform(30, 220, 2)
        picture = pixels((left, left, left), 1000 * seed + i)
        picture[:, 32:] = pixels((right, right, right), 1000 * seed + i)[:, 32:]
        yield {"input": png(picture), "label": [left, 100 * right]}


def doubtful(count, first=0):
    """Rows of three classes, whose colours are nearly halfway to those of another class."""
    for i in range(count):
        own, other = (np.array(COLORS[NAMES[(i + shift) % 3]]) for shift in (0, 1 + i // 3 % 2))
        yield {"input": png(pixels(0.53 * own + 0.47 * other, first + i, noise=70)), "label": NAMES[i % 3]}


@pytest.fixture(scope="module")
def home_of_models(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFER_HOME", str(home))
        patch.setenv("TRANSFER_OFFLINE", "1")
        yield home


@pytest.fixture(autouse=True)
def home(home_of_models):
    """Of all tests: where networks are timed anew, another precision may be found the faster one."""
    return home_of_models


train = partial(transfer_core.train, backbone="mobilenet_v2")


@pytest.fixture(scope="module")
def model(home_of_models):
    return train(data=labelled(120))


@pytest.fixture(scope="module")
def classes(home_of_models):
    return train(data=doubtful(90))


@pytest.fixture(scope="module")
def values(home_of_models):
    return train(data=greys(70))


def matrix(rows):
    return np.array([[name in row["label"] for name in NAMES] for row in rows])


def scores_of(model, rows):
    said = model.predict([row["input"] for row in rows])
    return said, np.array([[one["scores"][name] for name in NAMES] for one in said])


# Labels.


def test_label_sets_are_learned(model):
    assert (model.header.task, model.labels) == ("multi_label", tuple(NAMES))
    assert repr(model).endswith("mobilenet_v2, multi_label of 3 labels>")
    assert model.recipe.steps[-1].loss == "binary_cross_entropy"
    assert sum(model.header.sizes.values()) == 120
    assert model.metrics["mean_average_precision"] > model.metrics["baseline"]["mean_average_precision"] + 0.2
    rows = list(labelled(120))
    trained = model.state.label_counts
    assert all(
        0.5 * total < count < 0.8 * total for count, total in zip(trained, matrix(rows).sum(0), strict=True)
    )


def test_what_is_said_reaches_its_threshold_and_the_highest_comes_first(model):
    rows = list(labelled(30, seed=3))
    said, scores = scores_of(model, rows)
    for one, row in zip(said, scores, strict=True):
        assert list(one) == ["labels", "scores", "novelty", "unknown"]
        assert list(one["scores"].values()) == sorted(row, reverse=True)
        expected = {
            name for name, p, edge in zip(NAMES, row, model.state.thresholds, strict=True) if p >= edge
        }
        assert set(one["labels"]) == expected
        assert one["labels"] == [name for name in one["scores"] if name in expected]
    assert {len(one["labels"]) for one in said} >= {0, 1, 2}
    assert model.predict(rows[0]["input"])["labels"] == said[0]["labels"]


def test_evaluation_is_what_scikit_learn_says_of_the_predictions(model):
    rows = list(labelled(60, seed=4))
    truth, (said, scores) = matrix(rows), scores_of(model, rows)
    labels = np.array([[name in one["labels"] for name in NAMES] for one in said])
    found = model.evaluate(rows)
    assert found["examples"] == 60
    assert 0.4 < found["mean_average_precision"] < 1
    assert found["mean_average_precision"] == pytest.approx(average_precision_score(truth, scores), abs=1e-4)
    assert found["label_ranking_average_precision"] == pytest.approx(
        label_ranking_average_precision_score(truth, scores), abs=1e-4
    )
    for average in ("micro", "macro"):
        assert found[f"{average}_f1"] == pytest.approx(f1_score(truth, labels, average=average), abs=1e-4)


@pytest.mark.parametrize(
    "words",
    [{"optimizer": "adam", "epochs": 15}, {"class_weights": "balanced"}, {"class_weights": {"sky": 5.0}}],
    ids=str,
)
def test_other_ways_to_fit_them(model, words):
    other = train(data=labelled(120), **words)
    assert other.metrics["mean_average_precision"] == pytest.approx(
        model.metrics["mean_average_precision"], abs=0.15
    )
    assert other.state.thresholds != model.state.thresholds
    if "epochs" in words:
        assert set(other.history[-1]) == {"step", "epoch", "loss", "validation_loss", "micro_f1"}


def test_weights_make_a_label_likelier(model):
    heavy = train(data=labelled(120), class_weights={"sky": 20.0})
    rows = list(labelled(40, seed=6))
    sky = NAMES.index("sky")
    plain, weighted = (scores_of(one, rows)[1].mean(axis=0) for one in (model, heavy))
    assert weighted[sky] > plain[sky] + 0.1
    assert abs(weighted - plain).argmax() == sky


def test_a_saved_model_says_the_same_in_a_fresh_process(model, tmp_path):
    path = model.save(tmp_path / "labels.transfer", backbone=False)
    assert transfer_core.load(path).state.thresholds == model.state.thresholds
    picture = tmp_path / "a.png"
    picture.write_bytes(stripes(["sky", "leaf"], 77))
    code = (
        "import json, sys, torch, transfer_core; torch.set_num_threads(1); "
        "print(json.dumps(transfer_core.load(sys.argv[1]).predict(sys.argv[2])))"
    )
    environment = {**os.environ, "PYTHONPATH": "python"}
    command = [sys.executable, "-c", code, path, picture]
    theirs = json.loads(subprocess.run(command, capture_output=True, env=environment, check=True).stdout)
    ours = model.predict(picture)
    assert theirs["labels"] == ours["labels"]
    assert theirs["scores"] == pytest.approx(ours["scores"], abs=1e-5)


# Learned with a network that is fast.


@pytest.fixture
def tiny(monkeypatch):
    network = tiny_backbone()
    monkeypatch.setattr(backbones, "load", lambda *_: deepcopy(network))
    monkeypatch.setattr(backbones, "facts", lambda *_: network.facts)


TUNE = [
    {"type": "freeze"},
    {"type": "train", "epochs": 2, "optimizer": "adam"},
    {"type": "unfreeze", "last": 1},
    {"type": "train", "epochs": 3, "batch_size": 8, "optimizer": "sgd"},
]


def test_fine_tuning_on_label_sets(tiny):
    model = train(data=list(labelled(40)), steps=TUNE)
    assert [entry["step"] for entry in model.history] == ["train"] * 2 + ["fine_tune"] * 3
    assert all("micro_f1" in entry for entry in model.history)
    losses = [entry["validation_loss"] for entry in model.history]
    assert all(0 < loss < 2 for loss in losses)
    assert len(model.state.thresholds) == 3


@pytest.mark.parametrize("rows", [labelled, greys])
def test_a_training_that_is_stopped_goes_on_to_the_same_bits(tiny, monkeypatch, rows):
    monkeypatch.setattr(checkpoints, "SHORTEST_PAUSE_S", 0)
    monkeypatch.setattr(checkpoints, "PAUSE_PER_COST", 0)
    words = {"data": list(rows(30)), "steps": TUNE}
    whole = read_model(train(**words).path)
    reached = []

    def listen(event):
        if event["event"] == "epoch" and event["step"] == "fine_tune":
            reached.append(event["number"])

    with pytest.raises(Cancelled) as stopped:
        train(**words, on_event=listen, cancelled=lambda: len(reached) == 2)
    resumed = read_model(transfer_core.resume(stopped.value.run, data=words["data"]).path)
    headers = [msgspec.structs.replace(header, created_at="", seconds={}) for header, *_ in (whole, resumed)]
    assert headers[0] == headers[1]
    assert all(np.array_equal(tensor, resumed[1][name]) for name, tensor in whole[1].items())


def test_thresholds_are_those_of_the_held_out_examples_alone(tiny):
    """With no validation part nothing is chosen, whatever the test part would say."""
    words = {"data": list(labelled(60)), "optimizer": "adam", "epochs": 5}
    undecided = train(**words, split={"valid": 0})
    assert undecided.state.thresholds == ()
    assert undecided.state.temperature == 1.0
    assert (
        'no held-out example has the label "brick", "leaf", "sky": its threshold is 0.5'
        in undecided.header.warnings
    )
    assert [row["threshold"] for row in undecided.metrics["per_label"]] == [0.5] * 3
    chosen = train(**words)
    assert len(chosen.state.thresholds) == 3


def test_the_validation_rows_choose_the_thresholds(tiny):
    valid = list(labelled(25, seed=8))
    parts = {"train": list(labelled(40)), "valid": valid, "test": list(labelled(10, seed=9))}
    model = train(data=parts, optimizer="adam", epochs=5)
    _, scores = scores_of(model, valid)
    assert model.state.thresholds == pytest.approx(best_thresholds(scores, matrix(valid)), abs=1e-4)


def test_a_label_that_no_validation_row_has(tiny):
    valid = [row for row in labelled(40, seed=8) if "sky" not in row["label"]]
    parts = {"train": list(labelled(40)), "valid": valid, "test": list(labelled(20, seed=9))}
    model = train(data=parts, optimizer="adam", epochs=2)
    assert model.state.thresholds[NAMES.index("sky")] == 0.5
    warning = 'no held-out example has the label "sky": its threshold is 0.5'
    assert warning in model.header.warnings


# Several values.


def test_several_values(values):
    assert (values.header.task, values.labels) == ("regression", ("label_1", "label_2"))
    assert values.metrics["r2"] > 0.7
    mean, scale = values.state.mean, values.state.scale
    assert mean[1] / mean[0] == pytest.approx(100, rel=0.3)
    assert scale[1] / scale[0] == pytest.approx(100, rel=0.3)
    said = values.predict(next(greys(1, seed=5))["input"])
    assert list(said) == ["values", "novelty", "unknown"]
    assert list(said["values"]) == ["label_1", "label_2"]


def test_intervals(values):
    rows = list(greys(60, seed=5))
    inputs = [row["input"] for row in rows]
    plain, often, seldom = (values.predict(inputs, level=level) for level in (None, 0.95, 0.6))
    truth = np.array([row["label"] for row in rows])
    for name, column in zip(values.labels, truth.T, strict=True):
        narrow, wide = (np.array([one["intervals"][name] for one in said]) for said in (seldom, often))
        middle = np.array([one["values"][name] for one in plain])
        np.testing.assert_allclose(wide.mean(axis=1), middle, rtol=1e-6)
        assert np.ptp(np.diff(wide, axis=1)) < 1e-6 * np.abs(wide).max()
        assert (np.diff(wide, axis=1) > np.diff(narrow, axis=1)).all()
        covered = (wide[:, 0] <= column) & (column <= wide[:, 1])
        # 60 new examples and some 55 held-out ones: three standard deviations of both together.
        assert covered.mean() > 0.95 - 3 * np.sqrt(0.95 * 0.05 * (1 / 60 + 1 / 55))
    assert values.predict(inputs[0], level=0.9)["values"] == pytest.approx(plain[0]["values"], rel=1e-5)


def test_coverage_is_measured_as_the_predictions_say(values):
    rows = list(greys(40, seed=5))
    found = values.evaluate(rows)["conformal"]
    said = values.predict([row["input"] for row in rows], level=0.9)
    covered = [
        [
            low <= truth <= high
            for (low, high), truth in zip(one["intervals"].values(), row["label"], strict=True)
        ]
        for one, row in zip(said, rows, strict=True)
    ]
    assert found["level"] == 0.9
    assert found["coverage"] == pytest.approx(np.mean(covered), abs=0.026)  # an edge may round either way
    assert [row["name"] for row in found["per_output"]] == list(values.labels)
    low, high = said[0]["intervals"]["label_2"]
    assert found["per_output"][1]["width"] == pytest.approx(high - low)
    assert values.metrics["conformal"]["calibrated_on"] == found["calibrated_on"] == 56


def test_one_value():
    rows = [{**row, "label": row["label"][0]} for row in greys(40)]
    said = train(data=rows).predict(rows[0]["input"], level=0.8)
    assert list(said) == ["value", "interval", "novelty", "unknown"]
    assert said["interval"][0] < said["value"] < said["interval"][1]


# Sets.


def test_sets(classes):
    pictures = [row["input"] for row in doubtful(60, first=5000)]
    plain, often, seldom = (classes.predict(pictures, level=level) for level in (None, 0.95, 0.5))
    for one, large, small in zip(plain, often, seldom, strict=True):
        assert list(one) == ["label", "score", "scores", "novelty", "unknown"]
        assert list(large) == ["label", "score", "scores", "set", "novelty", "unknown"]
        assert large["set"] == list(large["scores"])[: len(large["set"])]
        assert small["set"] == large["set"][: len(small["set"])]
        assert one["label"] == small["set"][0]
    covered = np.mean([NAMES[i % 3] in one["set"] for i, one in enumerate(often)])
    assert covered > 0.95 - 3 * np.sqrt(0.95 * 0.05 * (1 / 60 + 1 / 72))
    assert np.mean([len(one["set"]) for one in often]) > np.mean([len(one["set"]) for one in seldom])


def test_the_metrics_of_sets(classes):
    rows = list(doubtful(30, first=5000))
    found = classes.evaluate(rows)["conformal"]
    sets = [one["set"] for one in classes.predict([row["input"] for row in rows], level=0.9)]
    assert found["coverage"] == pytest.approx(
        np.mean([row["label"] in one for row, one in zip(rows, sets, strict=True)]), abs=0.035
    )
    assert found["mean_size"] == pytest.approx(np.mean(list(map(len, sets))), abs=0.035)
    assert found["interval"][0] <= found["coverage"] <= found["interval"][1]
    assert classes.metrics["conformal"]["calibrated_on"] == 72


def test_what_held_out_outputs_say_by_hand(classes, values, model):
    rng = np.random.default_rng(0)
    outputs, truth = 3 * rng.normal(size=(40, 3)), rng.integers(3, size=40)
    state = classes.task.calibrate(classes.state, outputs, truth)
    assert state.temperature > 2  # they know nothing
    p = np.exp(outputs / state.temperature)
    own = (p / p.sum(axis=1, keepdims=True))[np.arange(40), truth]
    assert state.nonconformity == pytest.approx(sorted(1 - own))

    scaled = rng.normal(size=(40, 2))
    state = values.task.calibrate(values.state, scaled, np.zeros((40, 2)))
    errors = np.abs(scaled) * values.state.scale
    assert state.nonconformity == tuple(pytest.approx(sorted(column)) for column in errors.T)

    has = rng.random((40, 3)) < 0.3
    state = model.task.calibrate(model.state, outputs, has)
    p = 1 / (1 + np.exp(-outputs / state.temperature))
    assert state.thresholds == pytest.approx(best_thresholds(p, has))


@pytest.mark.parametrize(
    ("level", "message"),
    [
        (1, "level: expected a number above 0 and below 1 (got 1)"),
        ("0.9", 'level: expected a number above 0 and below 1 (got "0.9")'),
        (-0.5, "level: expected a number above 0 and below 1 (got -0.5)"),
        (0.99, "level: 0.99 needs at least 99 held-out examples, and this model has 72"),
    ],
)
def test_levels_that_can_not_be_kept(classes, level, message):
    for inputs in (stripes([], 1), [stripes([], 1)], []):
        with pytest.raises(RecipeError) as raised:
            classes.predict(inputs, level=level)
        assert str(raised.value) == message


def test_a_model_of_labels_has_no_level(model):
    with pytest.raises(RecipeError) as raised:
        model.predict([], level=0.9)
    assert str(raised.value) == ("level: prediction sets are not available for multi_label models")


def test_a_model_without_held_out_examples(tiny):
    rows = list(doubtful(30))
    model = train(data=rows, optimizer="adam", epochs=2, split={"valid": 0})
    assert "conformal" not in model.metrics
    with pytest.raises(RecipeError, match="and this model has 0"):
        model.predict(rows[0]["input"], level=0.9)
