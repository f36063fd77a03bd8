"""SSDLite's MobileNetV2 for persons, compared with TensorFlow's outputs of the published graph."""

import numpy as np
import pytest
import torch

from transfer_core import backbones
from transfer_core.backbones import restore
from transfer_core.backbones.block_outputs import describe_outputs
from transfer_core.backbones.catalogue import catalogue
from transfer_core.backbones.protobuf import fields
from transfer_core.runtime.errors import ModelFileError

# Outputs of TensorFlow for `uniform(-1, 1)` of seed 0 as the input `Preprocessor/sub`: five channels at row 4
# and column 5 of expanded_conv_5, expanded_conv_12 and Conv_1, and the mean magnitude of the whole map.
PUBLISHED = {
    8: ([-4.8640041, 1.8482746, 6.9669046, 0.3072584, -0.6529329], 3.9199114),
    16: ([-1.5763621, 0.4301044, -1.2652118, 0.9875584, -0.6998122], 2.1980879),
    32: ([0.0, 0.1231739, 0.0, 0.0, 0.2681962], 0.1150451),
}


def test_maps_are_those_of_the_published_graph():
    images = np.random.default_rng(0).uniform(-1, 1, (1, 300, 300, 3)).astype(np.float32)
    backbone = backbones.load("ssdlite_person")
    with torch.no_grad():
        maps = backbone.feature_maps(torch.from_numpy(images).permute(0, 3, 1, 2))
    found = dict(zip([one.stride for one in backbone.facts.feature_maps], maps, strict=True))
    for stride, (values, mean) in PUBLISHED.items():
        assert found[stride][0, :5, 4, 5].tolist() == pytest.approx(values, abs=1e-4)
        assert found[stride].abs().mean().item() == pytest.approx(mean, abs=1e-5)


def test_facts_are_those_of_the_blocks():
    backbone = backbones.load("ssdlite_person", "random")
    facts = backbone.facts
    maps, _ = describe_outputs(dict(backbone.blocks.named_children()), 300)
    assert maps == facts.feature_maps
    assert sum(p.numel() for p in backbone.parameters()) == facts.backbone_parameters
    again = restore(facts, backbone.state_dict(), None, "")
    images = torch.randn(2, 3, 64, 95)
    with torch.no_grad():
        assert backbone(images).shape == (2, facts.embedding_width)
        assert torch.equal(again(images), backbone(images))


def test_another_file_is_refused(tmp_path):
    (tmp_path / "own.pb").write_bytes(b"12")
    with pytest.raises(ModelFileError, match=r"own\.pb is not the published frozen_inference_graph\.pb"):
        backbones.load("ssdlite_person", str(tmp_path / "own.pb"))


def test_the_catalogue_has_it():
    [entry] = catalogue(task="detection", source="ssdlite")
    assert (entry.name, entry.license, entry.input_size) == ("ssdlite_person", "MIT", 300)


def test_fields_of_a_message():
    # 1: 300, 2: "ab", 3: four bytes.
    message = b"\x08\xac\x02\x12\x02ab\x1d\x00\x00\x80\x3f"
    assert list(fields(message)) == [(1, 300), (2, b"ab"), (3, b"\x00\x00\x80\x3f")]
    for damaged in (message[:-1], b"\x0b", b"\x12\x05a", b"\xff" * 11):
        with pytest.raises((ValueError, LookupError)):
            list(fields(damaged))
