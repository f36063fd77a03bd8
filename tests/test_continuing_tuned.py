"""Continue the training of models whose backbone was fine-tuned."""

import os
import random

import pytest
import sklearn.linear_model  # noqa: F401  sets variables of the environment

import transfer_core
from photos import COLORS, rows
from tiny_encoder import WORDS, tiny_encoder
from transfer_core.model_file.format import read_model
from transfer_core.runtime.errors import RecipeError

pytestmark = pytest.mark.extras

UNFROZEN = [
    {"type": "freeze"},
    {"type": "train"},
    {"type": "unfreeze", "last": 1},
    {"type": "train", "epochs": 2},
]
LORA = [{"type": "freeze"}, {"type": "train"}, {"type": "lora", "rank": 2}, {"type": "train", "epochs": 2}]
VALUES = {"good": 1.0, "bad": -1.0, "late": 3.0}


def texts(labels, count, seed, values=None):
    """Different texts of which each has the word of its label."""
    draw, found = random.Random(seed), {}
    while len(found) < count:
        label = labels[len(found) % len(labels)]
        others = [word for word in WORDS if word not in VALUES]
        found[" ".join(draw.sample([label, *draw.choices(others, k=6)], 7))] = label
    return [{"input": text, "label": values[label] if values else label} for text, label in found.items()]


@pytest.fixture(scope="module", autouse=True)
def peft():
    """Import peft, which sets variables of the environment."""
    environment = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return tiny_encoder(tmp_path_factory.mktemp("tiny"))


def backbone_of(model, place):
    _, arrays, _ = read_model(model.save(place))
    return {name: array.tobytes() for name, array in arrays.items() if name.startswith("backbone.")}


@pytest.mark.parametrize(("steps", "task"), [(UNFROZEN, "classification"), (LORA, "regression")])
def test_texts(encoder, tmp_path, steps, task):
    values = VALUES if task == "regression" else None
    how = {"data": texts(["good", "bad"], 80, 0, values), "task": task, "steps": steps}
    base = transfer_core.train(backbone=encoder, **how)
    assert base.header.backbone.fine_tuned
    base = transfer_core.load(base.save(tmp_path / "base.transfer"))
    more = transfer_core.train(data=texts(["late", "bad"], 40, 1, values), start=base)
    assert more.header.backbone.fine_tuned
    assert backbone_of(more, tmp_path / "more.transfer") == backbone_of(base, tmp_path / "again.transfer")
    kept, name = more.metrics["kept"], base.task.main_metric
    assert kept["metric"] == name
    assert kept["examples"] == base.metrics["examples"]
    assert kept["before"] == pytest.approx(base.metrics[name], abs=2e-3)  # stored in half precision
    if task == "classification":
        assert more.labels == ("bad", "good", "late")
        assert kept["after"] > kept["before"] - 0.2
    assert "novelty" not in more.metrics
    third = transfer_core.train(data=texts(["late", "good"], 20, 2, values), start=more)
    assert third.metrics["kept"]["examples"] == more.metrics["examples"]


def test_photos(tmp_path):
    first = {label: COLORS[label] for label in ("brick", "leaf")}
    base = transfer_core.train(backbone="mobilenet_v2", data=list(rows(10, first)), steps=UNFROZEN)
    data = [row for row in rows(8) if row["label"] == "sky"]
    more = transfer_core.train(data=data, start=base)
    assert more.labels == ("brick", "leaf", "sky")
    assert more.metrics["kept"]["after"] == more.metrics["kept"]["before"] == 1.0
    assert more.predict(data[0]["input"])["label"] == "sky"


def test_without_validation_examples(encoder):
    how = {"data": texts(["good", "bad"], 30, 0), "steps": UNFROZEN, "split": {"valid": 0}}
    base = transfer_core.train(backbone=encoder, **how)
    with pytest.raises(RecipeError, match="it was fine-tuned without validation examples"):
        transfer_core.train(data=texts(["late"], 9, 1), start=base)
