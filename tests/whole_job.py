"""What a recipe promises with any backbone of images, whatever its source."""

import numpy as np
import pytest
import torch

import transfer_core
from transfer_core.features.extractor import ImageExtractor
from transfer_core.model_file.format import read_model
from transfer_core.runs import checkpoints

HEAD = [{"type": "freeze"}, {"type": "train"}]


def trained(words, **more):
    return transfer_core.train(**words, precision="float32", **more)


def tuned(words, thaw, epochs=1, **more):
    steps = [*HEAD, {"type": "unfreeze", **thaw}, {"type": "train", "epochs": epochs, "batch_size": 8}]
    # Without validation rows the last epoch is kept, whether it was better or not.
    return trained(words, steps=steps, split={"test": 0.25, "valid": 0}, **more)


def tensors(model):
    return read_model(model.path)[1]


def of_network(model):
    """Without stored examples, which a model whose backbone has changed has none of."""
    return {name: array for name, array in tensors(model).items() if not name.startswith("novelty.")}


def changed_blocks(before, after):
    """The blocks that hold a tensor which is not the same to the last bit; norms' statistics never change."""
    old, new = (of_network(model) for model in (before, after))
    assert old.keys() == new.keys()
    names = [name for name in old if not np.array_equal(old[name], new[name])]
    assert not [name for name in names if "running" in name]
    return {name.split(".")[2] for name in names if name.startswith("backbone.")}


def check_frozen_and_kept(words, photo):
    """Frozen, nothing changes; a second time no image is embedded; saved and loaded, it answers the same."""
    model = trained(words)
    published = transfer_core.backbones.load(
        words["backbone"], words.get("weights", "pretrained"), trust=words.get("trust", False)
    )
    for name, tensor in published.state_dict().items():
        assert torch.equal(tensor, model.backbone.module().state_dict()[name]), name
    assert not model.header.backbone.fine_tuned
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageExtractor, "_embedded", lambda *_: pytest.fail("embedded again"))
        again = trained(words)
    assert again.header.metrics == model.header.metrics
    loaded = transfer_core.load(model.path)
    np.testing.assert_allclose(loaded.embed([photo]), model.embed([photo]), rtol=1e-5, atol=1e-6)
    assert loaded.predict(photo)["scores"] == pytest.approx(model.predict(photo)["scores"], abs=1e-5)
    return model


def check_tuned(words, frozen, blocks):
    """The last block trains alone, and all blocks together."""
    assert changed_blocks(frozen, tuned(words, {"last": 1})) == {blocks[-1]}
    everything = tuned(words, {"all": True})
    assert changed_blocks(frozen, everything) == set(blocks)
    loaded = transfer_core.load(everything.path)
    for name, tensor in everything.backbone.module().state_dict().items():
        assert torch.equal(tensor, loaded.backbone.module().state_dict()[name]), name


def check_resumed(words, monkeypatch):
    """A training that ends after an epoch of fine-tuning goes on to the same bits."""
    monkeypatch.setattr(checkpoints, "SHORTEST_PAUSE_S", 0)
    monkeypatch.setattr(checkpoints, "PAUSE_PER_COST", 0)
    whole = tuned(words, {"last": 1}, epochs=2)
    seen = []

    def stop(event):
        seen.append(event)
        if (event["event"], event.get("step"), event.get("number")) == ("epoch", "fine_tune", 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned(words, {"last": 1}, epochs=2, on_event=stop)
    (run,) = [event["id"] for event in seen if event["event"] == "run"]
    events = []
    resumed = transfer_core.resume(run, on_event=events.append)
    epochs = [event["number"] for event in events if event["event"] == "epoch"]
    assert epochs == [2]
    first, second = tensors(whole), tensors(resumed)
    assert all(np.array_equal(first[name], second[name]) for name in first)
