"""Whole trainings through timm: EfficientNet-Lite 0 with real weights, and a tiny model with random ones."""

import numpy as np
import pytest
import torch

import transfer_core
from photos import COLORS, class_folder, pixels, png
from transfer_core import backbones
from transfer_core.features.extractor import ImageExtractor
from transfer_core.model_file.format import read_model
from transfer_core.runtime.errors import Cancelled

pytestmark = [pytest.mark.slow, pytest.mark.extras]

LITE0 = "timm/tf_efficientnet_lite0"
TUNE = [
    {"type": "freeze"},
    {"type": "train"},
    {"type": "unfreeze", "last": 3},
    {"type": "train", "epochs": 2, "batch_size": 8},
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Five photos of each of three classes."""
    return class_folder(tmp_path_factory.mktemp("photos"), per_class=5)


def differing(before, after):
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_a_frozen_training_saves_loads_and_finds_its_embeddings_again(photos, tmp_path, monkeypatch):
    model = transfer_core.train(backbone=LITE0, data=photos)
    assert not differing(backbones.load(LITE0).state_dict(), model.backbone.state_dict())
    inputs = [png(pixels(color, 900 + i)) for i, color in enumerate(COLORS.values())]
    assert [answer["label"] for answer in model.predict(inputs)] == list(COLORS)

    loaded = transfer_core.load(model.save(tmp_path / "whole.transfer"))
    light = transfer_core.load(model.save(tmp_path / "light.transfer", backbone=False))
    assert loaded.header.backbone.name == LITE0
    for other in (loaded, light):
        np.testing.assert_allclose(other.embed(inputs), model.embed(inputs), rtol=0, atol=1e-5)
        for ours, theirs in zip(model.predict(inputs), other.predict(inputs), strict=True):
            assert ours["scores"] == pytest.approx(theirs["scores"], abs=1e-5)

    monkeypatch.setattr(ImageExtractor, "_embedded", None)  # the second time no photo goes through it
    again = transfer_core.train(backbone=LITE0, data=photos)
    assert np.array_equal(
        read_model(again.path)[1]["head.0.weight"], read_model(model.path)[1]["head.0.weight"]
    )


def test_fine_tuning_moves_what_is_unfrozen_and_no_statistics(photos):
    before = backbones.load(LITE0)
    model = transfer_core.train(backbone=LITE0, data=photos, steps=TUNE)
    moved = differing(before.state_dict(), model.backbone.state_dict())
    assert {name.split(".")[1] for name in moved} == set(before.facts.blocks[-3:])
    assert not [name for name in moved if "running" in name or "num_batches" in name]


def test_a_training_of_a_tiny_model_goes_on_where_it_was(photos):
    words = {"backbone": "timm/test_vit", "weights": "random", "data": photos, "steps": TUNE, "seed": 3}
    events = []

    def cancelled():
        return any(event["event"] == "epoch" and event.get("step") == "fine_tune" for event in events)

    with pytest.raises(Cancelled) as raised:
        transfer_core.train(**words, on_event=events.append, cancelled=cancelled)
    resumed = read_model(transfer_core.resume(raised.value.run).path)[1]
    straight = read_model(transfer_core.train(**words).path)[1]
    assert resumed.keys() == straight.keys()
    assert all(np.array_equal(resumed[name], straight[name]) for name in straight)
