"""Code that a saved model names runs where the model was trained, or where somebody says that it may."""

import pytest

import transfer_core
from photos import class_folder
from transfer_core.errors import ModelFileError, RecipeError

HUBCONF = """
import torch

dependencies = ["torch"]

def colors(pretrained=False):
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, stride=4), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 10),
    )
"""


@pytest.fixture
def model(tmp_path):
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "hubconf.py").write_text(HUBCONF)
    photos = class_folder(tmp_path / "photos", per_class=4)
    return transfer_core.train(backbone=f"torchhub:{tmp_path}/hub:colors", trust=True, data=photos)


def test_a_file_does_not_vouch_for_itself(model, tmp_path, monkeypatch):
    photo = next((tmp_path / "photos").rglob("*.png"))
    expected = model.predict(str(photo))["label"]
    assert transfer_core.load(model.path).predict(str(photo))["label"] == expected
    whole = model.save(tmp_path / "whole.transfer")
    assert transfer_core.load(whole).predict(str(photo))["label"] == expected
    assert (tmp_path / "home/trusted").stat().st_mode & 0o777 == 0o600

    monkeypatch.setenv("TRANSFER_HOME", str(tmp_path / "elsewhere"))
    with pytest.raises(RecipeError, match=r"trust: .*hubconf\.py") as raised:
        transfer_core.load(whole)
    assert raised.value.problems[0].path == "trust"
    assert transfer_core.load(whole, trust=True).predict(str(photo))["label"] == expected
    assert transfer_core.load(whole).predict(str(photo))["label"] == expected
    altered = tmp_path / "altered.transfer"
    altered.write_bytes(whole.read_bytes().replace(b"hub:colors", b"hub:colosr"))
    with pytest.raises(ModelFileError):
        transfer_core.load(altered)
