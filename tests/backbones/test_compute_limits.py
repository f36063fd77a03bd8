"""How much a network computes for an image is known before it is computed, and has bounds."""

import pytest
import torch
from msgspec.structs import replace
from torch import nn

from tiny_backbone import tiny_backbone, tiny_facts
from tiny_encoder import BERT
from transfer_core.backbones import Backbone
from transfer_core.backbones.compute_limits import ComputeLimitExceeded, check_compute
from transfer_core.backbones.huggingface.huggingface_network import build_network
from transfer_core.backbones.keras.keras_graph import read_graph
from transfer_core.runtime.errors import RecipeError


def backbone_of(*layers, size):
    weights = tiny_facts().default_weights
    weights = replace(weights, preprocessing=replace(weights.preprocessing, crop_size=size))
    return Backbone(
        replace(tiny_facts(), blocks=("all",)), {"all": nn.Sequential(*layers)}, nn.Flatten(), weights
    )


class Attention(nn.Module):
    def forward(self, x):
        x = x.flatten(2).transpose(1, 2)[:, None]
        return nn.functional.scaled_dot_product_attention(x, x, x)


def test_a_usual_network_passes_and_stays_as_it_is():
    backbone = tiny_backbone()
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    check_compute(backbone)
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())


@pytest.mark.parametrize(
    ("layers", "size", "message"),
    [
        ([nn.Conv2d(3, 100, 1)], 2048, "a layer outputs 419,430,400 numbers, limit: 67,108,864"),
        ([nn.ZeroPad2d(10**6)], 32, "a layer outputs 12,000,384,003,072 numbers"),
        ([nn.Upsample(scale_factor=1000)], 32, "a layer outputs 3,072,000,000 numbers"),
        ([nn.MaxPool2d(401, 1, 200)], 2048, "its layers read more than 68,719,476,736 numbers"),
        ([Attention()], 2048, "its layers read more than 68,719,476,736 numbers"),
        ([nn.ReLU()] * 6000, 2048, "its layers read more than 68,719,476,736 numbers"),
    ],
    ids=["wide", "padding", "enlarging", "pooling", "attention", "deep"],
)
def test_what_takes_too_much_is_refused_without_computing_it(layers, size, message):
    with pytest.raises(ComputeLimitExceeded) as raised:
        check_compute(backbone_of(*layers, size=size))
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize("layers", [1001, 10**9, -1, "12", None, [1]])
def test_an_encoder_has_a_bounded_number_of_layers(layers):
    with pytest.raises(RecipeError, match=r"num_hidden_layers is .*, expected at most 1000 layers"):
        build_network("x", {**BERT, "num_hidden_layers": layers})


def test_a_model_within_a_model_can_not_multiply_without_bounds():
    """Each has the one within it twice: 2 to the 40th calls."""
    model = sequence([layer("Activation", {"activation": "relu"})], "innermost")
    for depth in range(40):
        model = sequence([model, model], f"model_{depth}")
    with pytest.raises(RecipeError, match="has more than 5,000 calls of layers"):
        read_graph(model, "it")


def layer(kind, config):
    return {"class_name": kind, "module": "keras.layers", "config": {"name": kind.lower(), **config}}


def sequence(layers, name):
    shape = [None, 8, 8, 3]
    first = layer("InputLayer", {"batch_shape": shape})
    return {
        **{"class_name": "Sequential", "module": "keras", "name": name},
        "config": {"name": name, "layers": [first, *layers]},
    }
