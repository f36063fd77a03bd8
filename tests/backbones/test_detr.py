"""DETR compared with transformers' model."""

import pytest
import torch
from transformers import DetrConfig, DetrForObjectDetection, ResNetConfig

import transfer_core
from box_sets import SIGNS, row_boxes, write_photos
from transfer_core import backbones
from transfer_core.features.engines import choice
from transfer_core.runtime.errors import RecipeError

pytestmark = pytest.mark.extras

QUERIES, WIDTH, SIZE = 7, 16, 96
SHAPE = {
    "d_model": WIDTH,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 20,
    "num_queries": QUERIES,
    "num_labels": 3,
}


def write_model(folder, **words):
    """A tiny DETR with random weights, as a folder of the hub's form."""
    trunk = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 2], out_features=["stage2"], layer_type="basic"
    )
    own = {"use_timm_backbone": False, "backbone": None, "backbone_config": trunk}
    torch.manual_seed(0)
    model = DetrForObjectDetection(
        DetrConfig(**{**SHAPE, **own, **words}, use_pretrained_backbone=False)
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize(
    "words", [{}, {"use_timm_backbone": True, "backbone": "resnet18", "backbone_config": None}]
)
@torch.no_grad()
def test_queries_are_those_of_transformers(tmp_path, words):
    model = write_model(tmp_path, **words)
    backbone = backbones.load(f"hf/{tmp_path}")
    images = torch.randn(2, 3, SIZE, SIZE)
    expected = model(images, pixel_mask=torch.ones(2, SIZE, SIZE, dtype=torch.long))
    [found] = backbone.feature_maps(images)
    states, boxes = found.squeeze(3).transpose(1, 2).split((WIDTH, 4), dim=2)
    torch.testing.assert_close(states, expected.last_hidden_state, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(boxes.sigmoid(), expected.pred_boxes, rtol=1e-3, atol=1e-4)


def test_it_trains(tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "PACKAGES", dict.fromkeys(choice.PACKAGES, "missing") | {"torch": "torch"})
    write_model(tmp_path / "detr")
    write_photos(tmp_path)
    rows = [{"input": str(tmp_path / name), "boxes": row_boxes(boxes)} for name, boxes in SIGNS.items()]
    model = transfer_core.train(
        backbone=f"hf/{tmp_path / 'detr'}",
        data=rows,
        task="detection",
        image_size=SIZE,
        augment=[],
        split={"test": 0, "valid": 0},
        steps=[{"type": "freeze"}, {"type": "train", "epochs": 4}, {"type": "unfreeze", "last": 2},
               {"type": "train", "epochs": 3}],
        device="cpu",
    )  # fmt: skip
    losses = [entry["loss"] for entry in model.history]
    assert losses[-1] < losses[0]
    model.save(tmp_path / "detr.transfer")
    photo = rows[0]["input"]
    assert transfer_core.load(tmp_path / "detr.transfer").predict(photo) == model.predict(photo)


def test_another_backbone_is_refused(tmp_path):
    write_model(tmp_path)
    text = (tmp_path / "config.json").read_text().replace('"model_type": "resnet"', '"model_type": "swin"')
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(RecipeError, match=r'the backbone "swin" \(one of: resnet, resnet18'):
        backbones.facts(f"hf/{tmp_path}")
