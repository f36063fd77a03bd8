"""YOLOS and the head for object queries, compared with transformers' model and loss."""

import json

import pytest
import torch
from transformers import YolosConfig, YolosForObjectDetection
from transformers.loss.loss_for_object_detection import ForObjectDetectionLoss

import transfer_core
from box_sets import SIGNS, row_boxes, write_photos
from transfer_core import backbones
from transfer_core.features.engines import choice
from transfer_core.heads.detection.build import build_detector
from transfer_core.recipe.heads import QueriesHead
from transfer_core.runtime.errors import RecipeError

pytestmark = pytest.mark.extras

QUERIES, WIDTH, SIZE = 7, 16, 96


def write_model(folder, **words):
    """A tiny YOLOS with random weights and positions, as a folder of the hub's form."""
    config = YolosConfig(
        hidden_size=WIDTH,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=24,
        num_detection_tokens=QUERIES,
        image_size=[48, 80],
        num_labels=5,
        **words,
    )
    torch.manual_seed(0)
    model = YolosForObjectDetection(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("yolos")
    write_model(folder)
    return folder


@pytest.mark.parametrize("words", [{}, {"use_mid_position_embeddings": False}])
@torch.no_grad()
def test_queries_are_those_of_transformers(tmp_path, words):
    model = write_model(tmp_path, **words)
    backbone = backbones.load(f"hf/{tmp_path}")
    images = torch.randn(2, 3, SIZE, SIZE)
    expected = model(images)
    [found] = backbone.feature_maps(images)
    states, boxes = found.squeeze(3).transpose(1, 2).split((WIDTH, 4), dim=2)
    torch.testing.assert_close(states, expected.last_hidden_state[:, -QUERIES:], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(boxes.sigmoid(), expected.pred_boxes, rtol=1e-4, atol=1e-5)
    assert backbone(images).shape == (2, backbone.facts.embedding_width)
    assert backbone.preprocessing.mean == (0.485, 0.456, 0.406)


def test_the_loss_is_that_of_transformers(folder):
    facts = backbones.facts(f"hf/{folder}")
    detector = build_detector(QueriesHead(hidden=8), facts.feature_maps, SIZE, 3, 0)
    torch.manual_seed(1)
    outputs = torch.randn(2, QUERIES, 3 + 1 + 4)
    objects = [
        (torch.tensor([[4.0, 8, 40, 60], [30, 30, 90, 80]]), torch.tensor([2, 0])),
        (torch.tensor([[50.0, 10, 95, 95]]), torch.tensor([1])),
    ]
    targets = [detector.match(((QUERIES, 1),), *one) for one in objects]
    labels = [
        {
            "class_labels": classes,
            "boxes": torch.cat(
                [(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], dim=1
            )
            / SIZE,
        }
        for corners, classes in objects
    ]
    config = YolosConfig(num_labels=3, auxiliary_loss=False)
    boxes = outputs[..., -4:].sigmoid()
    expected, _, _ = ForObjectDetectionLoss(outputs[..., :-4], labels, torch.device("cpu"), boxes, config)
    found = detector.loss(outputs, targets, ((QUERIES, 1),)) / sum(map(detector.weight, targets))
    torch.testing.assert_close(found, expected)


def test_boxes_are_those_of_the_published_network_before_training(folder):
    backbone = backbones.load(f"hf/{folder}")
    detector = build_detector(QueriesHead(), backbone.facts.feature_maps, SIZE, 3, 0)
    with torch.no_grad():
        maps = backbone.feature_maps(torch.randn(1, 3, SIZE, SIZE))
        assert torch.equal(detector(maps)[..., -4:], maps[0].squeeze(3).transpose(1, 2)[..., -4:])


def test_it_trains(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "PACKAGES", dict.fromkeys(choice.PACKAGES, "missing") | {"torch": "torch"})
    write_photos(tmp_path)
    rows = [{"input": str(tmp_path / name), "boxes": row_boxes(boxes)} for name, boxes in SIGNS.items()]
    steps = [{"type": "freeze"}, {"type": "train", "epochs": 4}, {"type": "unfreeze", "last": 1}]
    model = transfer_core.train(
        backbone=f"hf/{folder}",
        data=rows,
        task="detection",
        image_size=SIZE,
        augment=[],
        split={"test": 0, "valid": 0},
        steps=[*steps, {"type": "train", "epochs": 4}],
        device="cpu",
    )
    losses = [entry["loss"] for entry in model.history]
    assert losses[-1] < losses[0]
    assert json.loads(json.dumps(model.header.recipe))["head"]["type"] == "queries"
    trained = model.backbone.module().state_dict()
    published = backbones.load(f"hf/{folder}").state_dict()
    moved = {name.split(".")[1] for name in published if not torch.equal(trained[name], published[name])}
    assert "queries" in moved
    assert moved <= {"queries"}
    model.save(tmp_path / "yolos.transfer")
    photo = rows[0]["input"]
    assert transfer_core.load(tmp_path / "yolos.transfer").predict(photo) == model.predict(photo)


def test_another_image_size_is_refused(tmp_path):
    write_model(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "image_size": 224}))
    with pytest.raises(RecipeError, match="image_size 224, expected height and width, is not supported"):
        backbones.facts(f"hf/{tmp_path}")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"head": "fcos"}, r"object queries, which need the head queries \(got fcos\)"),
        ({"backbone": "mobilenet_v2", "head": "queries"}, "mobilenet_v2 has no object queries"),
    ],
)
def test_heads_that_do_not_fit(words, message, folder, tmp_path):
    data = [{"input": "gone.png", "boxes": []}]
    with pytest.raises(RecipeError, match=message):
        transfer_core.train(**{"backbone": f"hf/{folder}", "data": data, "task": "detection", **words})
