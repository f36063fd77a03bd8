"""NanoDet-g: its file of weights, and its blocks compared with the declared facts."""

import hashlib

import msgspec
import numpy as np
import pytest
import torch

from transfer_core import backbones
from transfer_core.backbones import restore
from transfer_core.backbones.block_outputs import describe_outputs
from transfer_core.backbones.catalogue import catalogue
from transfer_core.backbones.nanodet import nanodet_loading
from transfer_core.runtime.errors import ModelFileError, WeightsNotFound
from transfer_core.runtime.progress import Progress

# Of the manifest in nanodet.json: module, offset in bytes, and shape (H, W, C, C').
MANIFEST = {
    "blocks.stem.0.0": (5545944, (3, 3, 3, 32)),
    "blocks.stage2.enter.0": (5566430, (3, 3, 64, 64)),
    "blocks.pyramid.stages.1.enter.0": (5935590, (3, 3, 256, 256)),
    "blocks.pyramid.lateral.2": (7115786, (1, 1, 512, 128)),
    "blocks.pyramid.outer.0.0": (120, (3, 3, 128, 128)),
}


@pytest.fixture
def forged(tmp_path):
    """A file of random numbers with the published size, and the facts of its digest."""
    facts = backbones.facts("nanodet_g")
    values = np.random.default_rng(0).normal(size=facts.default_weights.bytes // 2).astype(np.float16)
    path = tmp_path / "own.bin"
    path.write_bytes(values.tobytes())
    digest = hashlib.sha256(values.tobytes()).hexdigest()
    weights = msgspec.structs.replace(facts.default_weights, sha256=digest)
    return path, msgspec.structs.replace(facts, weights=(weights,))


def test_tensors_are_those_at_the_places_of_the_manifest(forged):
    path, facts = forged
    content = path.read_bytes()
    state = nanodet_loading.load(facts, str(path), False, Progress()).state_dict()
    for name, (offset, shape) in MANIFEST.items():
        count = int(np.prod(shape))
        values = np.frombuffer(content, np.float16, count + shape[3], offset).astype(np.float32)
        weight = values[:count].reshape(shape).transpose(3, 2, 0, 1)
        weight = weight[:, ::-1] if shape[2] == 3 else weight  # blue, green, red
        np.testing.assert_array_equal(state[f"{name}.weight"].numpy(), weight)
        np.testing.assert_array_equal(state[f"{name}.bias"].numpy(), values[count:])


def test_no_two_tensors_share_bytes(forged):
    path, facts = forged
    backbone = nanodet_loading.load(facts, str(path), False, Progress())
    sizes = [2 * (m.weight.numel() + len(m.bias)) for m in backbone.modules() if hasattr(m, "bias")]
    ends = 0
    for offset, size in sorted(zip(nanodet_loading._OFFSETS, sizes, strict=True)):
        assert offset >= ends
        ends = offset + size
    assert ends <= facts.default_weights.bytes


def test_facts_are_those_of_the_blocks():
    backbone = backbones.load("nanodet_g", "random")
    facts = backbone.facts
    maps, _ = describe_outputs(dict(backbone.blocks.named_children()), 416)
    assert maps == facts.feature_maps
    assert sum(p.numel() for p in backbone.parameters()) == facts.backbone_parameters
    images = torch.randn(2, 3, 64, 96)
    again = restore(facts, backbone.state_dict(), None, "")
    with torch.no_grad():
        assert backbone(images).shape == (2, facts.embedding_width)
        assert torch.equal(again(images), backbone(images))


def test_another_file_is_refused(forged):
    path, _ = forged
    with pytest.raises(ModelFileError, match=r"own\.bin is not the published nanodet\.bin of nanodet_g"):
        backbones.load("nanodet_g", str(path))


def test_without_the_file_the_message_names_it(monkeypatch, tmp_path):
    monkeypatch.setenv("TRANSFER_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsNotFound, match=r"nanodet\.bin.*Searched"):
        backbones.load("nanodet_g")


def test_the_catalogue_has_it():
    [entry] = catalogue(task="detection", source="nanodet")
    assert (entry.name, entry.metric_value, entry.license) == ("nanodet_g", 22.9, "Apache-2.0")
