"""Exported detectors by ONNX Runtime against the model: every head, photos of several sizes and formats."""

import json
import subprocess
import sys

import msgspec
import numpy as np
import pytest
import sklearn  # noqa: F401 - sets variables when it is imported
import torch
from PIL import Image

import transfer_core
from exported import Exported
from test_detection import draw_photos
from tiny_backbone import tiny_backbone
from transfer_core.heads.detection.build import build_detector, maps_used
from transfer_core.model.model import Model
from transfer_core.pipeline import five_steps
from transfer_core.recipe.parser import parse_recipe
from transfer_core.runtime.errors import ConfigurationError

pytestmark = [pytest.mark.extras, pytest.mark.slow]

HEADS = {
    "fcos": {"type": "fcos", "channels": 32, "layers": 1},
    "retinanet": {"type": "retinanet", "channels": 32, "layers": 1},
    "ssd": {"type": "ssd", "channels": 32},
    "faster_rcnn": {"type": "faster_rcnn", "channels": 32, "hidden": 16},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    network = tiny_backbone()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFER_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setattr(five_steps, "open_backbone", lambda *_: network)
        patch.setattr(five_steps, "describe", lambda *_: network.facts)
        rows = draw_photos(tmp_path_factory.mktemp("squares"), 8)
        words = {"task": "detection", "image_size": 96, "epochs": 1, "batch_size": 4, "precision": "float32"}
        yield transfer_core.train(backbone="mobilenet_v2", data=rows, head=HEADS["fcos"], **words)


def with_head(trained, name):
    """The model with a head of random weights that finds something anywhere."""
    recipe = {**trained.header.recipe, "head": HEADS[name]}
    maps = trained.backbone.facts.feature_maps
    parsed = parse_recipe(recipe)
    detector = build_detector(parsed.head, maps, 96, len(trained.labels), 0).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(3)
    for part, weights in detector.named_parameters():
        if "cls" in part or "classification_head" in part or "rpn" in part:
            weights.add_(torch.randn(weights.shape, generator=generator) * 0.1)
            if part.endswith("cls_logits.bias"):
                weights.add_(4.0)
    detector.pyramid.fit(
        [torch.randn(8, used.channels, 9, 9, generator=generator) for used in maps_used(maps)]
    )
    state = {**trained.header.state, "thresholds": [0.05, 0.4], "slope": 1.3, "offset": -0.2}
    header = msgspec.structs.replace(trained.header, recipe=recipe, state=state)
    return Model(trained.path, header, trained.backbone, detector, "")


def photos(folder):
    made = Image.fromarray(np.random.default_rng(1).integers(0, 256, (60, 90, 3), np.uint8))
    rotated = Image.Exif()
    rotated[0x0112] = 6
    made.save(folder / "small.png")
    made.resize((1000, 700)).save(folder / "reduced.jpg", exif=rotated)
    made.resize((33, 400)).save(folder / "tall.webp", lossless=True)
    made.resize((701, 96)).save(folder / "wide.png")
    made.resize((96, 96)).save(folder / "same.png")
    return sorted(folder.iterdir())


def decoded(path, least):
    """As the documentation of the file asks for."""
    image = Image.open(path)
    is_turned = image.getexif().get(0x0112) == 6
    size = image.size[::-1] if is_turned else image.size
    at_least = -(-least * min(size) // max(size))
    image.draft(None, (at_least, at_least))
    image = image.convert("RGB")
    return image.transpose(Image.Transpose.ROTATE_270) if is_turned else image, size


def rows_of(boxes, labels):
    """Class, percent, and corners of each box."""
    return np.array(
        [
            (
                labels.index(b["label"]),
                b["score"] * 100,
                b["x"],
                b["y"],
                b["x"] + b["width"],
                b["y"] + b["height"],
            )
            for b in boxes
        ]
    )


@pytest.mark.parametrize("name", HEADS)
def test_the_same_boxes(trained, tmp_path, name):
    model = with_head(trained, name)
    report = model.export(tmp_path / "m.onnx")
    assert report.error < 1e-3
    file = Exported(tmp_path / "m.onnx")
    (tmp_path / "photos").mkdir()
    count = missed = 0
    for path in photos(tmp_path / "photos"):
        image, size = decoded(path, file.metadata["preprocessing"]["decode_longer_at_least"])
        found = file.run(image=np.asarray(image)[None], size=np.array(size))
        expected = model.predict(str(path))
        assert (expected["width"], expected["height"]) == size
        boxes = rows_of(expected["boxes"], model.labels)
        own = np.column_stack([found["classes"], found["scores"] * 100, found["corners"]])
        apart = np.abs(own[:, None] - boxes).max(axis=2)  # 0.01 pixels, 0.0001 of a score
        missed += (apart.min(axis=0) > 0.01).sum() + (apart.min(axis=1) > 0.01).sum()
        assert list(found["scores"]) == sorted(found["scores"], reverse=True)
        count += len(boxes)
    # Whether a box suppresses another may depend on rounding.
    assert missed <= count / 10
    assert count > 50


def test_the_script_predicts_the_same(trained, tmp_path):
    model = with_head(trained, "ssd")
    report = model.export(tmp_path / "m.onnx", precision="float16", loader="python")
    Image.new("RGB", (300, 200), "red").save(tmp_path / "red.jpg")
    run = [sys.executable, report.loader, tmp_path / "red.jpg"]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    found, expected = json.loads(done.stdout), model.predict(str(tmp_path / "red.jpg"))["boxes"]
    assert len(expected) > 0
    assert [box["label"] for box in found] == [box["label"] for box in expected]
    assert abs(found[0]["score"] - expected[0]["score"]) < 0.01


def test_what_is_refused(trained, tmp_path):
    target = tmp_path / "m.onnx"
    with pytest.raises(ConfigurationError, match=r"detection can't be exported in int8. Fix: use float16"):
        trained.export(target, precision="int8", calibration=str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"not measured on data. Fix: leave out calibration"):
        trained.export(target, evaluation=str(tmp_path))
    with pytest.raises(ConfigurationError, match="the loader for browsers takes images of models with one"):
        trained.export(target, loader="browser")
    assert not target.exists()
