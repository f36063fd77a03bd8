"""Operations that oneDNN joins compute what they did one by one."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from onednn_operators import needs_bfloat16_operators
from tiny_backbone import randomize_norms
from transfer_core import backbones
from transfer_core.features.inference import Plan, Variants
from transfer_core.features.one_pass import OnePass, _bias_after_rounding, in_one_pass
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
    expected = block(images.clone())
    (found,), output = in_one_pass(block, images.clone(), [torch.float32])
    torch.testing.assert_close(output, expected)
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
    (found,), _ = in_one_pass(block, images, [torch.float32])
    torch.testing.assert_close(found(images), block(images))


class Gated(nn.Module):
    """Next to a convolution, a dense layer and a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.dense = nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.rand(4, 1, 1))

    def forward(self, x):
        y = torch.relu(self.conv(x))
        return y * self.dense(y.mean(dim=(2, 3)))[:, :, None, None] * self.scale


@torch.no_grad()
def test_precisions_that_are_prepared_together_share_nothing():
    torch.manual_seed(0)
    block = Gated().eval()
    before = copy.deepcopy(block.state_dict())
    images = torch.randn(2, 4, 9, 9)
    expected = block(images)
    (exact, rounded), _ = in_one_pass(block, images, [torch.float32, torch.bfloat16])
    torch.testing.assert_close(rounded(images.bfloat16()).float(), expected, atol=2e-2, rtol=2e-2)
    for tensor in rounded.state_dict().values():
        tensor.fill_(7)
    torch.testing.assert_close(exact(images), expected)
    assert all(torch.equal(tensor, before[name]) for name, tensor in block.state_dict().items())


@torch.no_grad()
@pytest.mark.parametrize(("groups", "bias"), [(1, True), (1, False), (2, True), (4, True)])
def test_the_bias_makes_up_for_rounded_weights(groups, bias):
    generator = torch.Generator().manual_seed(0)
    conv = nn.Conv2d(4, 8, 3, groups=groups, bias=bias)
    conv.weight.copy_(torch.rand(conv.weight.shape, generator=generator))
    # Even, where its weights see the same whatever the place.
    images = torch.rand(5, 4, 1, 1, generator=generator).expand(5, 4, 9, 9)
    corrected = _bias_after_rounding(conv, images.mean(dim=(0, 2, 3)), torch.bfloat16)
    rounded = conv.weight.bfloat16().float()
    found = functional.conv2d(images, rounded, corrected, groups=groups).mean(dim=(0, 2, 3))
    plainly = functional.conv2d(images, rounded, conv.bias, groups=groups).mean(dim=(0, 2, 3))
    expected = conv(images).mean(dim=(0, 2, 3))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert (plainly - expected).abs().max() > 1e-3


@torch.no_grad()
def test_without_the_operators_a_block_is_rounded_and_otherwise_unchanged(no_bfloat16_operators):
    torch.manual_seed(0)
    block = Gated().eval()
    images = torch.randn(2, 4, 9, 9)
    (exact, rounded), output = in_one_pass(block, images, [torch.float32, torch.bfloat16])
    assert any(isinstance(module, OnePass) for module in exact.modules())
    assert not any(isinstance(module, OnePass) for module in rounded.modules())
    assert {tensor.dtype for tensor in rounded.state_dict().values()} == {torch.bfloat16}
    assert {tensor.dtype for tensor in block.state_dict().values()} == {torch.float32}
    torch.testing.assert_close(output, block(images))
    plain = copy.deepcopy(block).bfloat16()
    torch.testing.assert_close(rounded(images.bfloat16()), plain(images.bfloat16()), rtol=0, atol=0)


@torch.no_grad()
def test_a_torch_without_the_operators_gives_the_same_embeddings(no_onednn_operators):
    torch.manual_seed(0)
    backbone = backbones.build("mobilenet_v3_small")
    randomize_norms(backbone)
    images = torch.randn(2, 3, 64, 64)
    network = Variants(backbone, CPU).network(Plan(exact=99, dtype="float32", batch=2, fused=True))
    assert not any(isinstance(module, OnePass) for module in network.modules())
    torch.testing.assert_close(network(images), backbone.eval()(images), rtol=1e-4, atol=1e-5)


@needs_bfloat16_operators
@torch.no_grad()
@pytest.mark.parametrize(("after", "joined"), [("sum", False), ("sum, relu", True)])
def test_a_bias_is_rounded_only_for_a_relu_after_a_sum(after, joined):
    torch.manual_seed(0)
    block = Block(JOINED[after]).eval()
    block.conv.bias.copy_(torch.tensor([100.3, -100.3, 1.003, 0.3]))
    images = torch.randn(2, 4, 6, 6)
    (found,), _ = in_one_pass(block, images, [torch.bfloat16])
    (one,) = (module for module in found.modules() if isinstance(module, OnePass))
    assert (one._bias.dtype == torch.bfloat16) == joined
    assert (sum(node.op.startswith("call") for node in found.graph.nodes) == 1) == joined
    torch.testing.assert_close(found(images.bfloat16()).float(), block(images), atol=0.1, rtol=2e-2)


def test_what_can_not_be_traced_is_left_as_it_is():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return self.conv(x) if x.mean() > 0 else x

    block = Branching()
    (found,), _ = in_one_pass(block, torch.rand(1, 3, 4, 4), [torch.float32])
    assert type(found) is Branching
