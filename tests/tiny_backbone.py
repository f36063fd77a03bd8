"""A backbone of three small blocks, for tests of what is done to backbones."""

import msgspec
import torch
from torch import nn

from transfer_core import backbones
from transfer_core.backbones import Backbone
from transfer_core.backbones.representations import FeatureMap
from transfer_core.model_file.format import tensors_digest

WIDTH = 6
CROP, RESIZE = 16, 20


def tiny_facts():
    known = backbones.facts("mobilenet_v2")
    preprocessing = msgspec.structs.replace(
        known.default_weights.preprocessing, crop_size=CROP, resize_size=RESIZE
    )
    weights = msgspec.structs.replace(known.default_weights, preprocessing=preprocessing)
    return msgspec.structs.replace(
        known,
        name="tiny",
        blocks=("stem", "middle", "last"),
        feature_maps=(FeatureMap("stem", 2, 4), FeatureMap("middle", 4, 4), FeatureMap("last", 8, WIDTH)),
        embedding_width=WIDTH,
        default=weights.name,
        weights=(weights,),
    )


def tiny_backbone(seed=0):
    """Convolutions with BatchNorm whose statistics are not the fresh ones; (N, 3, 16, 16) -> (N, 6)."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        blocks = {"stem": _block(3, 4), "middle": _block(4, 4), "last": _block(4, WIDTH)}
        pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        backbone = Backbone(tiny_facts(), blocks, pool)
        randomize_norms(backbone, seed)
    backbone.weights_digest = tensors_digest(backbone.state_dict())
    return backbone.eval()


@torch.no_grad()
def randomize_norms(module, seed=0):
    """Give every BatchNorm statistics and weights as after a training; returns how many there are."""
    generator = torch.Generator().manual_seed(seed)
    norms = [norm for norm in module.modules() if isinstance(norm, nn.BatchNorm2d)]
    for norm in norms:
        norm.running_mean.copy_(0.1 * torch.randn(norm.num_features, generator=generator))
        norm.running_var.copy_(0.5 + torch.rand(norm.num_features, generator=generator))
        norm.weight.copy_(0.5 + torch.rand(norm.num_features, generator=generator))
        norm.bias.copy_(0.1 * torch.randn(norm.num_features, generator=generator))
    return len(norms)


def _block(inside, outside):
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU()
    )
