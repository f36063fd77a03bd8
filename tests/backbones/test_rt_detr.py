"""RT-DETR compared with transformers' models."""

import json

import numpy as np
import pytest
import torch
from transformers import (
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrResNetConfig,
    RTDetrV2Config,
    RTDetrV2ForObjectDetection,
)

import transfer_core
from box_sets import SIGNS, row_boxes, write_photos
from transfer_core import backbones
from transfer_core.features.engines import choice
from transfer_core.runtime.errors import RecipeError

pytestmark = pytest.mark.extras

QUERIES, WIDTH, SIZE = 7, 16, 96
SHAPE = {
    "d_model": WIDTH,
    "encoder_hidden_dim": 24,
    "encoder_in_channels": [16, 24, 32],
    "decoder_in_channels": [24] * 3,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 20,
    "decoder_ffn_dim": 28,
    "num_queries": QUERIES,
    "num_labels": 3,
}
PUBLISHED = {
    "rt_detr": (RTDetrConfig, RTDetrForObjectDetection),
    "rt_detr_v2": (RTDetrV2Config, RTDetrV2ForObjectDetection),
}


def write_model(folder, kind="rt_detr", layer="basic", **words):
    """A tiny RT-DETR with random weights and statistics, as a folder of the hub's form."""
    trunk = RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 24, 32],
        depths=[2, 1, 1, 1],
        layer_type=layer,
        out_features=["stage2", "stage3", "stage4"],
    )
    torch.manual_seed(0)
    config, model = PUBLISHED[kind]
    model = model(config(backbone_config=trunk, **{**SHAPE, **words})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for name, statistic in model.named_buffers():
            if "running" in name:
                statistic.add_(torch.rand_like(statistic))
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize(
    ("kind", "layer", "words"),
    [
        ("rt_detr", "basic", {}),
        ("rt_detr", "bottleneck", {"hidden_expansion": 0.5, "encoder_layers": 2}),
        ("rt_detr_v2", "basic", {"decoder_offset_scale": 0.3, "encode_proj_layers": [1, 2]}),
    ],
)
@torch.no_grad()
def test_queries_are_those_of_transformers(tmp_path, kind, layer, words):
    model = write_model(tmp_path, kind, layer, **words)
    backbone = backbones.load(f"hf/{tmp_path}")
    images = torch.rand(2, 3, SIZE, SIZE)
    expected = model(images)
    [found] = backbone.feature_maps(images)
    states, boxes = found.squeeze(3).transpose(1, 2).split((WIDTH, 4), dim=2)
    torch.testing.assert_close(states, expected.last_hidden_state, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(boxes.sigmoid(), expected.pred_boxes, rtol=1e-4, atol=1e-4)
    assert expected.pred_boxes.std() > 0.05


def test_it_trains(tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "PACKAGES", choice.PACKAGES | {"openvino": "missing"})
    write_model(tmp_path / "detector")
    write_photos(tmp_path)
    rows = [
        {"input": str(tmp_path / name), "boxes": row_boxes(boxes)} for name, boxes in list(SIGNS.items())[:8]
    ]
    words = {
        "backbone": f"hf/{tmp_path / 'detector'}",
        "data": rows,
        "task": "detection",
        "augment": [],
        "split": {"test": 0, "valid": 0},
        "steps": [{"type": "freeze"}, {"type": "train", "epochs": 2}, {"type": "unfreeze", "last": 4},
                  {"type": "train", "epochs": 2}],
        "device": "cpu",
    }  # fmt: skip
    model = transfer_core.train(**words, image_size=SIZE)
    losses = [entry["loss"] for entry in model.history]
    assert losses[-1] < losses[0]
    assert model.recipe.head.__struct_config__.tag == "queries"
    original = backbones.load(words["backbone"]).state_dict()
    changed = {
        name.split(".")[1]
        for name, tensor in model.backbone.module().state_dict().items()
        if not np.array_equal(tensor, original[name])
    }
    assert changed == {"pyramid", "propose", "decoder_0", "decoder_1"}
    model.save(tmp_path / "model.transfer")
    photo = rows[0]["input"]
    assert transfer_core.load(tmp_path / "model.transfer").predict(photo) == model.predict(photo)


def change(folder, **words):
    """Write words to config.json; those of the ResNet as `backbone`."""
    config = json.loads((folder / "config.json").read_text())
    config["backbone_config"] |= words.pop("backbone", {})
    (folder / "config.json").write_text(json.dumps({**config, **words}))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"backbone": {"model_type": "swin"}}, "a backbone other than rt_detr_resnet"),
        ({"backbone": {"depths": [10**9, 1, 1, 1]}}, "depths is .* expected at most 1000 layers"),
        ({"eval_size": [640, 640]}, r"eval_size \[640, 640\] \(expected nothing\)"),
        ({"decoder_method": "discrete"}, 'decoder_method "discrete"'),
        ({"activation_function": "tanh"}, r'activation_function "tanh" \(one of: gelu'),
        ({"encode_proj_layers": [3]}, "encode_proj_layers"),
    ],
)
def test_other_configurations_are_refused(tmp_path, words, message):
    write_model(tmp_path)
    change(tmp_path, **words)
    with pytest.raises(RecipeError, match=message):
        backbones.facts(f"hf/{tmp_path}")


def test_small_images_are_refused(tmp_path):
    write_model(tmp_path, num_queries=300)
    with pytest.raises(RecipeError, match=r"189 places for 300 object queries. Fix: a larger image_size"):
        backbones.load(f"hf/{tmp_path}").feature_maps(torch.zeros(1, 3, SIZE, SIZE))
