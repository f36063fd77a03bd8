"""Arrange torchvision's classification models as sequences of named blocks, one small function per family.

A block is a unit that a user freezes or unfreezes: a residual block, an encoder layer. Its name is
torchvision's with `_` for dots (`features_3`, `layer4_1`) or, for a group of modules, the usual one of the
paper (`stem`, `conv5_3`, `fc7`). All modules with parameters are in blocks; only pooling follows the last
block. Pooling between blocks belongs to the block before, so that a block's output is small.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from transfer_core.backbones.quick_import import without_compiler

with without_compiler("torchvision"):
    import torchvision
    from torchvision.models import convnext, efficientnet, squeezenet, swin_transformer

Blocks = dict[str, nn.Module]
Parts = tuple[Blocks, nn.Module]  # the blocks, and the pooling of the last block's output

_FAMILIES: dict[str, Callable[[Any], Parts]] = {}

# The published weights of both expect the input scaled to -1..1; their auxiliary heads serve only training.
_INCEPTION = {"transform_input": True, "aux_logits": False, "init_weights": False}


def create(name: str, family: str, image_size: int) -> nn.Module:
    """Create torchvision's model with its classifier.

    Parameters
    ----------
    name
        torchvision's name.
    family
        See `BackboneFacts`.
    image_size
        Side of the images in pixels; only ViT depends on it.
    """
    options: dict[str, Any] = {}
    if family in ("googlenet", "inception"):
        options = _INCEPTION
    elif family == "vit":
        options = {"image_size": image_size}
    model: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    return model


def arrange(model: nn.Module, family: str) -> Parts:
    """Arrange the model's own modules (no copies) in the order in which they run, without the classifier."""
    return _FAMILIES[family](model)


def family(*names: str) -> Callable[[Callable[[Any], Parts]], Callable[[Any], Parts]]:
    """Register a function for these families."""

    def register(function: Callable[[Any], Parts]) -> Callable[[Any], Parts]:
        _FAMILIES.update(dict.fromkeys(names, function))
        return function

    return register


# Chains of plain layers: AlexNet, VGG, SqueezeNet, MNASNet.


@family("alexnet")
def _alexnet(model: Any) -> Parts:
    convolutions = groups(model.features, starts=nn.Conv2d)
    blocks = {f"conv{i}": nn.Sequential(*group) for i, group in enumerate(convolutions, 1)}
    return blocks | _fully_connected(model), nn.Identity()


@family("vgg")
def _vgg(model: Any) -> Parts:
    blocks: Blocks = {}
    stage, number = 1, 0
    for group in groups(model.features, starts=nn.Conv2d):
        number += 1
        blocks[f"conv{stage}_{number}"] = nn.Sequential(*group)
        if isinstance(group[-1], nn.MaxPool2d):
            stage, number = stage + 1, 0
    return blocks | _fully_connected(model), nn.Identity()


@family("squeezenet")
def _squeezenet(model: Any) -> Parts:
    stem, *fires = groups(model.features, starts=squeezenet.Fire)
    blocks: Blocks = {"stem": nn.Sequential(*stem)}
    blocks |= {f"fire{i}": nn.Sequential(*group) for i, group in enumerate(fires, 2)}
    return blocks, average()


@family("mnasnet")
def _mnasnet(model: Any) -> Parts:
    layers = list(model.layers)
    blocks: Blocks = {"stem": nn.Sequential(*layers[:8])}
    for i, stack in enumerate(layers[8:14], 8):
        blocks |= {f"layers_{i}_{j}": block for j, block in enumerate(stack)}
    blocks["layers_14"] = nn.Sequential(*layers[14:])
    return blocks, average()


# Residual networks.


@family("resnet", "resnext", "wide_resnet")
def _resnet(model: Any) -> Parts:
    blocks: Blocks = {"stem": _named(model, "conv1", "bn1", "relu", "maxpool")}
    for stage in ("layer1", "layer2", "layer3", "layer4"):
        blocks |= {f"{stage}_{i}": block for i, block in enumerate(getattr(model, stage))}
    return blocks, average()


@family("regnet")
def _regnet(model: Any) -> Parts:
    blocks: Blocks = {"stem": model.stem}
    for stage, layers in model.trunk_output.named_children():
        blocks |= {f"{stage}_{i}": block for i, block in enumerate(layers)}
    return blocks, average()


@family("shufflenet_v2")
def _shufflenet_v2(model: Any) -> Parts:
    blocks: Blocks = {"stem": _named(model, "conv1", "maxpool")}
    for stage in ("stage2", "stage3", "stage4"):
        blocks |= {f"{stage}_{i}": block for i, block in enumerate(getattr(model, stage))}
    blocks["conv5"] = model.conv5
    return blocks, average()


@family("densenet")
def _densenet(model: Any) -> Parts:
    features = dict(model.features.named_children())
    stem = ("conv0", "norm0", "relu0", "pool0")
    blocks: Blocks = {"stem": nn.Sequential(OrderedDict((name, features.pop(name)) for name in stem))}
    norm = features.pop("norm5")
    for name, module in features.items():
        if name.startswith("denseblock"):
            blocks |= {f"{name}_{i}": _Concatenated(layer) for i, layer in enumerate(module.values(), 1)}
        else:
            blocks[name] = module
    blocks["norm5"] = nn.Sequential(norm, nn.ReLU(inplace=True))
    return blocks, average()


class _Concatenated(nn.Module):
    """A dense layer as a step of a sequence: its input and output, concatenated."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, features: Tensor) -> Tensor:  # (N, C, H, W) -> (N, C + growth, H, W)
        return torch.cat((features, self.layer([features])), 1)


# Inception.


@family("googlenet")
def _googlenet(model: Any) -> Parts:
    stem = _named(model, "conv1", "maxpool1", "conv2", "conv3", "maxpool2")
    blocks: Blocks = {"stem": nn.Sequential(_ToMinusOneOne(), *stem)}
    blocks["inception3a"] = model.inception3a
    blocks["inception3b"] = nn.Sequential(model.inception3b, model.maxpool3)
    blocks |= {name: getattr(model, name) for name in _numbered("inception4", "abcd")}
    blocks["inception4e"] = nn.Sequential(model.inception4e, model.maxpool4)
    blocks |= {name: getattr(model, name) for name in _numbered("inception5", "ab")}
    return blocks, average()


@family("inception")
def _inception(model: Any) -> Parts:
    wide = _named(model, "Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "maxpool1")
    narrow = _named(model, "Conv2d_3b_1x1", "Conv2d_4a_3x3", "maxpool2")
    blocks: Blocks = {"stem": nn.Sequential(_ToMinusOneOne(), *wide, *narrow)}
    mixed = _numbered("Mixed_5", "bcd") + _numbered("Mixed_6", "abcde") + _numbered("Mixed_7", "abc")
    return blocks | {name: getattr(model, name) for name in mixed}, average()


class _ToMinusOneOne(nn.Module):
    """Convert from ImageNet's normalization to the range -1..1 that Google's weights were trained with."""

    def forward(self, images: Tensor) -> Tensor:  # (N, 3, H, W)
        red = images[:, 0:1] * (0.229 / 0.5) + (0.485 - 0.5) / 0.5
        green = images[:, 1:2] * (0.224 / 0.5) + (0.456 - 0.5) / 0.5
        blue = images[:, 2:3] * (0.225 / 0.5) + (0.406 - 0.5) / 0.5
        return torch.cat((red, green, blue), 1)


# Mobile networks.


@family("mobilenet_v2")
def _mobilenet_v2(model: Any) -> Parts:
    return _features(model), average()


@family("mobilenet_v3")
def _mobilenet_v3(model: Any) -> Parts:
    wider, activation = model.classifier[:2]
    classifier = nn.Sequential(model.avgpool, nn.Flatten(), wider, activation)
    return _features(model) | {"classifier": classifier}, nn.Identity()


@family("efficientnet", "efficientnet_v2")
def _efficientnet(model: Any) -> Parts:
    return _features(model, efficientnet.MBConv, efficientnet.FusedMBConv), average()


# ConvNeXt and transformers.


@family("convnext")
def _convnext(model: Any) -> Parts:
    norm = nn.Sequential(model.avgpool, model.classifier[0], nn.Flatten())
    return _features(model, convnext.CNBlock) | {"norm": norm}, nn.Identity()


@family("swin", "swin_v2")
def _swin(model: Any) -> Parts:
    pool = nn.Sequential(model.permute, model.avgpool, model.flatten)
    return _features(model, swin_transformer.SwinTransformerBlock) | {"norm": model.norm}, pool


@family("maxvit")
def _maxvit(model: Any) -> Parts:
    blocks: Blocks = {"stem": model.stem}
    for i, stage in enumerate(model.blocks):
        blocks |= {f"blocks_{i}_{j}": layer for j, layer in enumerate(stage.layers)}
    blocks["classifier"] = nn.Sequential(*model.classifier[:-1])
    return blocks, nn.Identity()


@family("vit")
def _vit(model: Any) -> Parts:
    blocks: Blocks = {"stem": _Tokens(model)}
    blocks |= {f"encoder_{i}": layer for i, layer in enumerate(model.encoder.layers)}
    blocks["norm"] = model.encoder.ln
    return blocks, _ClassToken()


class _Tokens(nn.Module):
    """Patch embedding: projected patches after a class token, plus positions."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.conv_proj = model.conv_proj
        self.class_token = model.class_token  # (1, 1, width)
        self.pos_embedding = model.encoder.pos_embedding  # (1, 1 + patches, width)

    def forward(self, images: Tensor) -> Tensor:  # (N, 3, H, W) -> (N, 1 + patches, width)
        patches: Tensor = self.conv_proj(images).flatten(2).transpose(1, 2)
        first = self.class_token.expand(patches.shape[0], -1, -1)
        tokens: Tensor = torch.cat((first, patches), 1) + self.pos_embedding
        return tokens


class _ClassToken(nn.Module):
    def forward(self, tokens: Tensor) -> Tensor:  # (N, 1 + patches, width) -> (N, width)
        return tokens[:, 0]


# Shared by several families.


def average() -> nn.Module:
    """Mean over places: (N, C, H, W) -> (N, C)."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _fully_connected(model: Any) -> Blocks:
    """The two wide layers of AlexNet and VGG, without their dropout."""
    fc6, fc7, _ = (layer for layer in model.classifier if isinstance(layer, nn.Linear))
    return {
        "fc6": nn.Sequential(model.avgpool, nn.Flatten(), fc6, nn.ReLU(inplace=True)),
        "fc7": nn.Sequential(fc7, nn.ReLU(inplace=True)),
    }


def _features(model: Any, *expand: type[nn.Module]) -> Blocks:
    """Blocks of `model.features` by index; a stage of modules of the types `expand` becomes a block each."""
    blocks: Blocks = {}
    for i, stage in enumerate(model.features):
        if expand and all(isinstance(block, expand) for block in stage.children()):
            blocks |= {f"features_{i}_{j}": block for j, block in enumerate(stage)}
        else:
            blocks[f"features_{i}"] = stage
    return blocks


def groups(layers: Iterable[nn.Module], starts: type[nn.Module]) -> list[list[nn.Module]]:
    """Group a chain of layers, each group starting with a layer of the type `starts`, except the first."""
    groups: list[list[nn.Module]] = []
    for layer in layers:
        if not groups or isinstance(layer, starts):
            groups.append([])
        groups[-1].append(layer)
    return groups


def _named(model: Any, *names: str) -> nn.Sequential:
    return nn.Sequential(OrderedDict((name, getattr(model, name)) for name in names))


def _numbered(prefix: str, letters: str) -> list[str]:
    return [prefix + letter for letter in letters]
