"""Backbones of sources with code or a library of their own: exported, or refused with a sentence."""

import msgspec
import numpy as np
import pytest
import sklearn  # noqa: F401 - sets variables when it is imported
from PIL import Image

import transfer_core
from exported import Exported, assert_same
from photos import class_folder
from transfer_core.model.model import Model
from transfer_core.runtime.errors import ConfigurationError

pytestmark = [pytest.mark.extras, pytest.mark.slow]

HUBCONF = """
from torch import nn as _nn


def tiny(pretrained=False):
    body = _nn.Sequential(_nn.Conv2d(3, 8, 3, 4), _nn.ReLU(), _nn.AdaptiveAvgPool2d(1))
    return _nn.Sequential(body, _nn.Flatten(), _nn.Linear(8, 5))
"""


def trained(tmp_path, backbone, **words):
    photos = class_folder(tmp_path / "photos", per_class=6)
    return transfer_core.train(backbone=backbone, data=photos, precision="float32", **words)


def assert_exported(tmp_path, model):
    model.export(tmp_path / "m.onnx")
    exported = Exported(tmp_path / "m.onnx")
    photo = str(tmp_path / "photos" / "sky" / "1.png")
    found = exported.run(image=np.asarray(Image.open(photo).convert("RGB"))[None])
    assert_same(found, model.predict(photo), model.labels)


def test_pytorch_hub(tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "hubconf.py").write_text(HUBCONF)
    model = trained(tmp_path, f"torchhub:{folder}:tiny", weights="random", trust=True)
    assert_exported(tmp_path, model)


def test_random_weights_and_a_library_of_its_own(tmp_path):
    model = trained(tmp_path, "squeezenet1_1", weights="random")
    assert_exported(tmp_path, model)
    backbone = model.backbone.module()
    facts = {"name": "tensorflow:x", "source": "tensorflow", "plain": False}
    backbone.facts = msgspec.structs.replace(backbone.facts, **facts)
    other = Model(model.path, model.header, backbone, model.head, "")
    with pytest.raises(
        ConfigurationError, match=r"tensorflow run in a library of their own. Fix: train with"
    ):
        other.export(tmp_path / "n.onnx")
    assert not (tmp_path / "n.onnx").exists()
