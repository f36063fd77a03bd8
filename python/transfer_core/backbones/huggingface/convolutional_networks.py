"""Convolutional networks of the hub, ResNet and ConvNeXt, as blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from transfer_core.backbones.huggingface.encoder_layers import ACTIVATIONS
from transfer_core.backbones.huggingface.huggingface_network import Network, Unsupported
from transfer_core.backbones.huggingface.vision_transformers import DropPath
from transfer_core.backbones.representations import FeatureMap


def network(config: Mapping[str, Any]) -> Network:
    """Build the network of a config.json with random weights; residual blocks are `stage1_0` and so on."""
    usual = {"convnext": "gelu", "resnet": "relu"}[config["model_type"]]
    if config.get("hidden_act", usual) != usual:
        raise Unsupported(f"the activation {config['hidden_act']}")
    return _convnext(config) if config["model_type"] == "convnext" else resnet(config)


def resnet(config: Mapping[str, Any]) -> Network:
    """ResNet (He et al. 2016), or ResNet-D (He et al. 2019, Bag of tricks) for `rt_detr_resnet`.

    `downsample_in_bottleneck` selects the convolution with the stride.
    """
    widths, depths = config.get("hidden_sizes", [256, 512, 1024, 2048]), config.get("depths", [3, 4, 6, 3])
    stem = config.get("embedding_size", 64)
    first_stride = 2 if config.get("downsample_in_first_stage") else 1
    early = bool(config.get("downsample_in_bottleneck"))
    block = Bottleneck if config.get("layer_type", "bottleneck") == "bottleneck" else BasicBlock
    deep = config.get("model_type") == "rt_detr_resnet"
    first, published = _deep_stem(config, stem) if deep else _stem(config, stem)
    blocks: dict[str, nn.Module] = {"stem": first}
    for stage, (before, width, depth) in enumerate(zip([stem, *widths], widths, depths, strict=False)):
        for i in range(depth):
            stride = (2 if stage else first_stride) if i == 0 else 1
            name, inputs = f"stage{stage + 1}_{i}", width if i else before
            always = deep and block is BasicBlock and i == 0
            shortcut: nn.Module | None = None
            if always or inputs != width or stride > 1:
                shortcut = ConvNorm(inputs, width, 1, stride)
            is_pooled = deep and stride == 2 and (inputs != width or block is Bottleneck)
            if is_pooled:
                shortcut = nn.Sequential(nn.AvgPool2d(2, 2, ceil_mode=True), ConvNorm(inputs, width, 1))
            blocks[name] = block(inputs, width, stride, early, shortcut)
            theirs = f"encoder.stages.{stage}.layers.{i}"
            published |= {f"{name}.{part}": f"{theirs}.layer.{k}" for k, part in enumerate(block.PARTS)}
            pooled = ".1" if is_pooled else ""
            published[f"{name}.shortcut{pooled}"] = f"{theirs}.shortcut{pooled}"
    maps = _maps(widths, depths, 4 * first_stride)
    published = {
        f"{ours}.{own}": f"{theirs}.{name}"
        for ours, theirs in published.items()
        for own, name in _CONV_NORM.items()
    }
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Network(blocks, published, widths[-1], pool=pool, feature_maps=maps)


def _stem(config: Mapping[str, Any], width: int) -> tuple[nn.Module, dict[str, str]]:
    """The first layers with one convolution, and their published names."""
    convolution = ConvNorm(config.get("num_channels", 3), width, 7, 2)
    return nn.Sequential(convolution, nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)), {
        "stem.0": "embedder.embedder"
    }


def _deep_stem(config: Mapping[str, Any], width: int) -> tuple[nn.Module, dict[str, str]]:
    """The first layers with three convolutions, and their published names."""
    widths = [config.get("num_channels", 3), width // 2, width // 2, width]
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(pairwise(widths)):
        layers += [ConvNorm(before, after, 3, 1 if i else 2), nn.ReLU(inplace=True)]
    names = {f"stem.{2 * i}": f"embedder.embedder.{i}" for i in range(3)}
    return nn.Sequential(*layers, nn.MaxPool2d(3, 2, 1)), names


def _maps(widths: Sequence[int], depths: Sequence[int], stride: int) -> tuple[FeatureMap, ...]:
    """The outputs of the stages; `stride` is that of the first, each other has twice the one before."""
    return tuple(
        FeatureMap(f"stage{stage + 1}_{depth - 1}", stride * 2**stage, width)
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=False))
    )


class ConvNorm(nn.Sequential):
    """A convolution and its BatchNorm."""

    def __init__(self, before: int, width: int, kernel: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(before, width, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(width)
        )


class Bottleneck(nn.Module):
    """Bottleneck block: 1×1, 3×3 and 1×1 convolution with a residual."""

    PARTS = ("narrow", "middle", "widen")

    def __init__(self, before: int, width: int, stride: int, early: bool, shortcut: nn.Module | None) -> None:
        super().__init__()
        inner = width // 4
        self.narrow = ConvNorm(before, inner, 1, stride if early else 1)
        self.middle = ConvNorm(inner, inner, 3, 1 if early else stride)
        self.widen = ConvNorm(inner, width, 1)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        added = self.widen(torch.relu(self.middle(torch.relu(self.narrow(x)))))
        return torch.relu(added + (x if self.shortcut is None else self.shortcut(x)))


class BasicBlock(nn.Module):
    """Basic block: two 3×3 convolutions with a residual."""

    PARTS = ("first", "second")

    def __init__(self, before: int, width: int, stride: int, early: bool, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.first = ConvNorm(before, width, 3, stride)
        self.second = ConvNorm(width, width, 3)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        added = self.second(torch.relu(self.first(x)))
        return torch.relu(added + (x if self.shortcut is None else self.shortcut(x)))


def _convnext(config: Mapping[str, Any]) -> Network:
    """ConvNeXt (Liu et al. 2022)."""
    widths, depths = config.get("hidden_sizes", [96, 192, 384, 768]), config.get("depths", [3, 3, 9, 3])
    drops = torch.linspace(0, config.get("drop_path_rate", 0.0), sum(depths)).tolist()
    patch, first = config.get("patch_size", 4), widths[0]
    blocks: dict[str, nn.Module] = {
        "stem": nn.Sequential(
            nn.Conv2d(config.get("num_channels", 3), first, patch, patch), ChannelNorm(first, 1e-6)
        )
    }
    for stage, (before, width, depth) in enumerate(zip([first, *widths], widths, depths, strict=False)):
        if stage:
            blocks[f"down{stage + 1}"] = nn.Sequential(
                ChannelNorm(before, 1e-6), nn.Conv2d(before, width, 2, 2)
            )
        for i in range(depth):
            scale = config.get("layer_scale_init_value", 1e-6)
            blocks[f"stage{stage + 1}_{i}"] = ConvNeXtBlock(width, scale, drops[sum(depths[:stage]) + i])
    norm = nn.LayerNorm(widths[-1], config.get("layer_norm_eps", 1e-12))
    blocks["norm"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), norm)
    maps = _maps(widths, depths, patch)
    return Network(blocks, dict(_convnext_names(depths)), widths[-1], pool=nn.Identity(), feature_maps=maps)


class ChannelNorm(nn.LayerNorm):
    """A LayerNorm over the channels of (N, C, H, W)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__(width, eps)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    """ConvNeXt block: depthwise convolution and two dense layers over channels with a residual."""

    def __init__(self, width: int, scale: float, drop: float) -> None:
        super().__init__()
        self.around = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, 1e-6)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.full((width,), scale)) if scale else None
        self.drop = DropPath(drop) if drop else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        added = self.norm(self.around(x).permute(0, 2, 3, 1))
        added = self.narrow(ACTIVATIONS["gelu"](self.widen(added)))
        added = added if self.scale is None else added * self.scale
        return x + self.drop(added.permute(0, 3, 1, 2))  # type: ignore[no-any-return]


def _convnext_names(depths: list[int]) -> Iterator[tuple[str, str]]:
    yield "stem.0", "embeddings.patch_embeddings"
    yield "stem.1", "embeddings.layernorm"
    yield "norm.2", "layernorm"
    for stage, depth in enumerate(depths):
        theirs = f"encoder.stages.{stage}"
        yield from ((f"down{stage + 1}.{k}", f"{theirs}.downsampling_layer.{k}") for k in (0, 1))
        for i in range(depth):
            for ours, name in _CONVNEXT_BLOCK.items():
                yield f"stage{stage + 1}_{i}.{ours}", f"{theirs}.layers.{i}.{name}"


_CONV_NORM = {"0": "convolution", "1": "normalization"}

_CONVNEXT_BLOCK = {
    "around": "dwconv",
    "norm": "layernorm",
    "widen": "pwconv1",
    "narrow": "pwconv2",
    "scale": "layer_scale_parameter",
}
