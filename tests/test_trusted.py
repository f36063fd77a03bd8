"""Code that a saved model names runs where the model was trained, or where somebody says that it may."""

import subprocess
import sys

import pytest

import transfer_core
from photos import class_folder
from transfer_core.runtime.errors import ModelFileError, RecipeError

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


# Runs a command with a model: its second opening, or another one, gets other bytes.
EXCHANGED = """
import os, sys
model, other, which, command = sys.argv[1:]
opened = 0
def exchange(event, arguments):
    global opened
    if event == "open" and arguments[0] == model:
        opened += 1
        if opened == int(which) and os.path.exists(other):
            os.replace(other, model)
sys.addaudithook(exchange)
import transfer_core
from pathlib import Path
from transfer_core.worker import model_methods
exec(command)
"""


@pytest.mark.parametrize(
    "command",
    [
        "transfer_core.load(model, trust=True)",
        "model_methods.describe(None, model, trust=True)",
    ],
)
def test_the_content_that_was_read_is_trusted(model, tmp_path, monkeypatch, command):
    first, other = (model.save(tmp_path / f"{name}.transfer") for name in ("first", "other"))
    marker = tmp_path / "ran"
    # Another model, whose code would leave a trace.
    evil = tmp_path / "evil"
    evil.mkdir()
    (evil / "hubconf.py").write_text(f"open({str(marker)!r}, 'w').close()\n{HUBCONF}")
    swapped = transfer_core.train(backbone=f"torchhub:{evil}:colors", trust=True, data=tmp_path / "photos")
    swapped.save(other)
    content = first.read_bytes(), other.read_bytes()
    marker.unlink()

    home = tmp_path / "elsewhere"
    monkeypatch.setenv("TRANSFER_HOME", str(home))
    subprocess.run([sys.executable, "-c", EXCHANGED, first, other, "2", command], check=True)
    first.write_bytes(content[0])
    other.write_bytes(content[1])
    transfer_core.load(first)
    with pytest.raises(RecipeError, match=r"^trust: "):
        transfer_core.load(other)
    assert not marker.exists()


def test_a_copy_of_a_trusted_model_is_trusted_whatever_became_of_its_file(model, tmp_path, monkeypatch):
    source = model.save(tmp_path / "source.transfer")
    monkeypatch.setenv("TRANSFER_HOME", str(tmp_path / "elsewhere"))
    loaded = transfer_core.load(source, trust=True)
    source.write_bytes(b"another file")
    copies = [
        loaded.save(tmp_path / "copy.transfer"),
        loaded.save(tmp_path / "small.transfer", backbone=False),
    ]
    for copy in copies:
        assert transfer_core.load(copy).labels == model.labels


def test_what_replaces_a_new_file_is_not_trusted(model, tmp_path, monkeypatch):
    target, other = tmp_path / "target.transfer", model.save(tmp_path / "other.transfer", backbone=False)
    source = model.save(tmp_path / "source.transfer")
    content = other.read_bytes()
    monkeypatch.setenv("TRANSFER_HOME", str(tmp_path / "elsewhere"))
    command = f"transfer_core.load({str(source)!r}, trust=True).save(model)"
    # It is written under another name: to open it is to read it again.
    subprocess.run([sys.executable, "-c", EXCHANGED, target, other, "1", command], check=True)
    assert transfer_core.load(target).labels == model.labels
    (again := tmp_path / "again.transfer").write_bytes(content)
    with pytest.raises(RecipeError, match=r"^trust: "):
        transfer_core.load(again)
