"""Norms folded into convolutions that still train: the outputs and gradients of torchvision's modules."""

import copy

import pytest
import torch

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
