"""Operations that oneDNN joins compute what they did one by one."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from tiny_backbone import randomize_norms
from transfer_core import backbones
from transfer_core.features.inference import Plan, Variants
from transfer_core.features.one_pass import OnePass, in_one_pass
from transfer_core.features.parallel import on_one_core

CPU = torch.device("cpu")

# One of each family, and how many pixels it needs.
FAMILIES = {
    "alexnet": 64,
    "convnext_tiny": 64,
    "densenet121": 64,
    "efficientnet_b0": 64,
    "googlenet": 64,
    "inception_v3": 80,
    "maxvit_t": 224,
    "mnasnet0_5": 64,
    "mobilenet_v2": 64,
    "mobilenet_v3_small": 64,
    "regnet_y_400mf": 64,
    "resnet18": 64,
    "shufflenet_v2_x0_5": 64,
    "squeezenet1_1": 64,
    "swin_t": 64,
    "vgg11_bn": 64,
    "vit_b_16": 224,
}
# Their first convolution is within what torch.fx can't trace.
UNTRACED = {"vit_b_16": 1}


@torch.no_grad()
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_gives_the_published_embeddings(name):
    size = FAMILIES[name]
    backbone = backbones.build(name)
    randomize_norms(backbone)
    convolutions = sum(isinstance(module, nn.Conv2d) for module in backbone.modules())
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    expected = backbone(images)
    network = Variants(backbone, CPU).network(Plan(len(backbone.blocks), "float32", 2, fused=True))
    found = network(images)
    assert sum(isinstance(module, OnePass) for module in network.modules()) == convolutions - UNTRACED.get(
        name, 0
    )
    assert (found - expected).abs().max() <= 2e-5 * expected.abs().max()


@torch.no_grad()
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "efficientnet_b0"])
def test_no_bit_depends_on_the_size_of_the_batch(name, precision):
    backbone = backbones.build(name)
    randomize_norms(backbone)
    exact = len(backbone.blocks) if precision == "float32" else 0
    images = torch.randn(16, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    images = images.contiguous(memory_format=torch.channels_last)

    def in_batches_of(size):
        network = Variants(backbone, CPU).network(Plan(exact, precision, size, fused=True))
        with torch.no_grad():
            return torch.cat([network(batch) for batch in images.split(size)])

    four, eight, sixteen = (on_one_core(lambda size=size: in_batches_of(size)) for size in (4, 8, 16))
    assert torch.equal(four, eight)
    assert torch.equal(four, sixteen)


class Block(nn.Module):
    """A convolution, and what `after` makes of its result and of the input."""

    def __init__(self, after, **options):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1, **options)
        self.after = after

    def forward(self, x):
        return self.after(self.conv(x), x)


def _changes_its_input(y, x):
    x = torch.relu(x)
    x += y
    return x * torch.relu(x)


JOINED = {
    "nothing": lambda y, x: y,
    "relu": lambda y, x: torch.relu(y),
    "functional relu": lambda y, x: functional.relu(y, inplace=True),
    "relu6": nn.ReLU6(),
    "hardtanh": nn.Hardtanh(-0.3, 0.2),
    "silu": nn.SiLU(inplace=True),
    "hardswish": nn.Hardswish(),
    "sigmoid": nn.Sigmoid(),
    "hardsigmoid": nn.Hardsigmoid(),
    "sum": lambda y, x: y + x,
    "sum the other way round": lambda y, x: x + y,
    "sum in place": lambda y, x: y.add_(x),
    "sum, relu": lambda y, x: torch.relu(y + x),
}

APART = {
    "gelu": nn.GELU(),
    "sum, sigmoid": lambda y, x: torch.sigmoid(y + x),
    "twice the same": lambda y, x: y + y,
    "also used before": lambda y, x: torch.relu(y) + y,
    "broadcast": lambda y, x: y + x.mean(dim=(2, 3), keepdim=True),
    "a number": lambda y, x: y + 1,
    "times": lambda y, x: torch.add(y, x, alpha=2),
    "changes its input": _changes_its_input,
}


class First(nn.Module):
    """A function of the first of two, as a module that torch.fx does not look into."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, y, x):
        return self.function(y)


@torch.no_grad()
@pytest.mark.parametrize("after", [*JOINED, *APART])
def test_what_follows_a_convolution(after):
    function = {**JOINED, **APART}[after]
    torch.manual_seed(0)
    block = Block(First(function) if isinstance(function, nn.Module) else function).eval()
    images = torch.randn(2, 4, 6, 6).contiguous(memory_format=torch.channels_last)
    expected = copy.deepcopy(block)(images.clone())
    found = in_one_pass(block, images, torch.float32)
    torch.testing.assert_close(found(images.clone()), expected)
    calls = [node for node in found.graph.nodes if node.op.startswith("call")]
    assert any(isinstance(module, OnePass) for module in found.modules())
    assert (len(calls) == 1) == (after in JOINED)


@torch.no_grad()
@pytest.mark.parametrize(
    "options", [{"padding_mode": "reflect"}, {"groups": 2}, {"dilation": 2}, {"bias": False}]
)
def test_convolutions_of_every_kind(options):
    torch.manual_seed(0)
    block = Block(lambda y, x: torch.relu(y), **options).eval()
    images = torch.randn(2, 4, 9, 9)
    expected = copy.deepcopy(block)(images)
    torch.testing.assert_close(in_one_pass(block, images, torch.float32)(images), expected)


def test_what_can_not_be_traced_is_left_as_it_is():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return self.conv(x) if x.mean() > 0 else x

    block = Branching()
    assert in_one_pass(block, torch.rand(1, 3, 4, 4), torch.float32) is block
