"""Detection models of torchvision as backbones, compared with the maps that torchvision's own head takes."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torchvision.models import detection

import transfer_core
from box_sets import SIGNS, row_boxes, write_photos
from transfer_core import backbones
from transfer_core.backbones import restore
from transfer_core.backbones.catalogue import catalogue
from transfer_core.backbones.torchvision.torchvision_detectors import create_detector
from transfer_core.backbones.torchvision.torchvision_published import detector_facts
from transfer_core.features.engines import choice
from transfer_core.features.frozen_maps import FrozenMaps
from transfer_core.features.image_tensors import normalize
from transfer_core.finetune.detector_network import DetectorTail
from transfer_core.finetune.network import frozen_in_front
from transfer_core.heads.detection.build import build_detector, maps_used
from transfer_core.recipe.heads import FcosHead

# Compiling for OpenVINO takes seconds.
TORCH_ALONE = {"torch": "torch", "openvino": "missing", "onnxruntime": "missing"}
SCRIPT = Path(__file__).parents[2] / "scripts/build_backbone_facts.py"

# Blocks that the map of each stride comes from, and the outputs of torchvision's backbone.
MAPS = {
    "ssdlite320_mobilenet_v3_large": {16: "0", 32: "1"},
    "fasterrcnn_mobilenet_v3_large_320_fpn": {32: "0"},
    "retinanet_resnet50_fpn": {8: "0", 16: "1", 32: "2"},
}


def published(name):
    """torchvision's model with random weights and statistics, and the backbone of its state dict."""
    torch.manual_seed(0)
    model = create_detector(name).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return model, restore(backbones.facts(name), model.state_dict(), None, "")


@pytest.mark.parametrize("name", MAPS)
@torch.no_grad()
def test_maps_are_those_that_the_head_takes(name):
    model, backbone = published(name)
    images = torch.randn(1, 3, 96, 128)
    expected = model.backbone(images)
    found = dict(
        zip([one.stride for one in backbone.facts.feature_maps], backbone.feature_maps(images), strict=True)
    )
    for stride, key in MAPS[name].items():
        torch.testing.assert_close(found[stride], expected[key])
    assert backbone(images).shape == (1, backbone.facts.embedding_width)


def test_the_table_is_what_the_script_counts():
    spec = importlib.util.spec_from_file_location("build_backbone_facts", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    known = {facts.name: facts for facts in detector_facts()}
    boxes = [
        n for n in torchvision.models.list_models(module=detection) if "mask" not in n and "key" not in n
    ]
    assert list(known) == boxes
    for name in ("ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_fpn"):
        assert known[name] == script.describe_detector(name)


def test_the_catalogue_lists_detectors_first_for_detection():
    best = catalogue(task="detection", source="torchvision")[0]
    assert (best.name, best.metric_value) == ("fasterrcnn_resnet50_fpn_v2", 46.7)
    assert best.trained_for == "detection"
    assert catalogue(task="image_classification", source="torchvision")[0].trained_for == "classification"


def test_names_in_the_published_files_are_accepted():
    name = "fasterrcnn_mobilenet_v3_large_320_fpn"
    model, expected = published(name)
    # As before torchvision 0.15.
    old = {key.replace("_blocks.0.0.", "_blocks.0."): tensor for key, tensor in model.state_dict().items()}
    assert old.keys() != model.state_dict().keys()
    found = restore(backbones.facts(f"torchvision/{name}"), old, None, "")
    for key, tensor in found.state_dict().items():
        assert torch.equal(tensor, expected.state_dict()[key]), key


def test_a_detector_starts_from_the_weights_of_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "PACKAGES", TORCH_ALONE)
    name = "ssdlite320_mobilenet_v3_large"
    model, backbone = published(name)
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    write_photos(tmp_path / "photos")
    rows = [{"input": str(tmp_path / "photos" / p), "boxes": row_boxes(boxes)} for p, boxes in SIGNS.items()]
    trained = transfer_core.train(
        backbone=f"torchvision/{name}",
        weights=str(tmp_path / "weights.pth"),
        data=rows,
        task="detection",
        split={"test": 0, "valid": 0},
        image_size=96,
        augment=[],
        epochs=1,
        head={"type": "ssd", "channels": 32},
        device="cpu",
    )
    for key, tensor in trained.backbone.module().state_dict().items():
        assert torch.equal(tensor, backbone.state_dict()[key]), key
    trained.save(tmp_path / "model.transfer")
    again = transfer_core.load(tmp_path / "model.transfer")
    assert again.predict(rows[0]["input"]) == trained.predict(rows[0]["input"])


def test_levels_of_a_pyramid_are_trained(monkeypatch):
    _, backbone = published("fasterrcnn_mobilenet_v3_large_320_fpn")
    maps = maps_used(backbone.facts.feature_maps)
    detector = build_detector(FcosHead(channels=64, layers=1), maps, 64, 2, 0)
    begin = frozen_in_front(backbone, ("pyramid",))
    front = FrozenMaps(backbone, maps, begin, 64, torch.device("cpu"), "float32")
    tail = DetectorTail(backbone, detector, maps, ("pyramid",), begin, front.layout, lambda: None)
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    monkeypatch.setattr(choice, "PACKAGES", TORCH_ALONE)
    rows = torch.from_numpy(front.rows(list(images)))
    pixels = normalize(torch.from_numpy(images).permute(0, 3, 1, 2), backbone.preprocessing, torch.float32)
    for found, expected in zip(tail.maps(rows), backbone.feature_maps(pixels)[-3:], strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2)  # rows are float16
    tail.train()(rows).sum().backward()
    trained = dict(backbone.blocks.pyramid.named_parameters())
    assert all(parameter.grad is not None for parameter in trained.values())
    assert all(p.grad is None for n, p in backbone.named_parameters() if "pyramid" not in n)
