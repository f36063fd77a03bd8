"""Folding BatchNorm changes how a backbone computes, and neither what it computes nor the backbone."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cosine_similarity

from tiny_backbone import randomize_norms, tiny_backbone
from transfer_core import backbones
from transfer_core.features.fuse import fuse

# DenseNet's layers ask whether their input is a Tensor; a torch.fx proxy is none, so they are traced as if
# they were given a list.
# One of each family with BatchNorm, the smallest; how many pixels it needs; how many norms stand alone.
FAMILIES = {
    "densenet121": (64, 62),
    "efficientnet_b0": (64, 0),
    "googlenet": (64, 0),
    "inception_v3": (80, 0),
    "mnasnet0_5": (64, 0),
    "mobilenet_v2": (64, 0),
    "mobilenet_v3_small": (64, 0),
    "regnet_y_400mf": (64, 0),
    "resnet18": (64, 0),
    "shufflenet_v2_x0_5": (64, 0),
    "vgg11_bn": (64, 0),
}


def norms_in(module):
    return sum(isinstance(inner, nn.BatchNorm2d) for inner in module.modules())


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_the_same_function_with_fewer_layers(name):
    size, alone = FAMILIES[name]
    backbone = backbones.build(name)
    count = randomize_norms(backbone)
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    expected = backbone(images)

    fused = fuse(backbone)
    found = fused(images)
    assert count > alone
    assert norms_in(fused) == alone
    assert (found - expected).abs().max() <= 2e-5 * expected.abs().max()
    assert cosine_similarity(found, expected).min() > 1 - 1e-6
    assert norms_in(backbone) == count


@torch.no_grad()
def test_a_backbone_is_left_as_it_was():
    backbone = tiny_backbone().train().requires_grad_(True)
    before = copy.deepcopy(backbone.state_dict())
    fused = fuse(backbone)
    for tensor in fused.state_dict().values():
        tensor.fill_(7)
    assert backbone.training
    assert all(parameter.requires_grad for parameter in backbone.parameters())
    assert not any(parameter.requires_grad for parameter in fused.parameters())
    after = backbone.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_the_formula():
    """γ W / √(σ² + ε) and β - γ μ / √(σ² + ε), here against numpy."""
    backbone = tiny_backbone()
    conv, norm, _ = backbone.blocks.stem
    gain = norm.weight / (norm.running_var + norm.eps).sqrt()
    folded = next(module for module in fuse(backbone).blocks.stem.modules() if isinstance(module, nn.Conv2d))
    torch.testing.assert_close(folded.weight, conv.weight * gain.view(-1, 1, 1, 1))
    torch.testing.assert_close(folded.bias, norm.bias - gain * norm.running_mean)


class Shared(nn.Module):
    """The convolution's output is used beside its norm: folding would change the other use."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        y = self.conv(x)
        return y + self.norm(y)


class Twice(nn.Module):
    """One convolution before two norms."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(3), nn.BatchNorm2d(3)])

    def forward(self, x):
        return self.norms[1](self.conv(self.norms[0](self.conv(x))))


class Branching(nn.Module):
    """What torch.fx can't trace."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        return self.norm(self.conv(x)) if x.mean() > 0 else x


@pytest.mark.parametrize(
    "block",
    [
        Shared,
        pytest.param(
            Twice,
        ),
        Branching,
    ],
)
@torch.no_grad()
def test_what_can_not_be_folded_stays_right(block):
    torch.manual_seed(0)
    backbone = tiny_backbone()
    backbone.blocks = nn.Sequential(block())
    randomize_norms(backbone)
    backbone.eval()
    images = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(fuse(backbone)(images), backbone(images))
