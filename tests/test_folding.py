"""Norms folded into convolutions that still train: the outputs and gradients of torchvision's modules."""

import copy

import pytest
import torch
from torch import nn

from tiny_backbone import randomize_norms
from transfer_core import backbones
from transfer_core.finetune.folding import FoldedConv, fold_norms


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "resnet18", "densenet121", "googlenet"])
def test_outputs_and_gradients_are_the_same(name):
    plain = backbones.build(name).double().requires_grad_(True)
    randomize_norms(plain)
    folded = copy.deepcopy(plain)
    blocks = torch.nn.Sequential(*map(fold_norms, folded.blocks))
    assert any(isinstance(module, FoldedConv) for module in blocks.modules())
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gradients = []
    for outputs, parameters in (
        (plain.blocks(images), list(plain.blocks.parameters())),
        (blocks(images), list(folded.blocks.parameters())),
    ):
        gradients.append((outputs, torch.autograd.grad(outputs.square().mean(), parameters)))
    torch.testing.assert_close(gradients[0], gradients[1])


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


@pytest.mark.parametrize("kind", [Shared, Twice, Branching])
@torch.no_grad()
def test_what_can_not_be_folded_stays_right(kind):
    torch.manual_seed(0)
    block = kind()
    randomize_norms(block)
    block.eval()
    images = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(fold_norms(block)(images), block(images))
