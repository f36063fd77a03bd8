"""Arrange torchvision's detection models as sequences of named blocks, without the layers that predict.

A feature pyramid takes the outputs of several stages: it is one block together with the stages after the
first of these, and outputs a tuple of levels. Blocks end with the map of stride 32.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import detection

from transfer_core.backbones.torchvision.torchvision_blocks import Blocks, Parts, average, family, groups

# Levels of a pyramid that are kept, from the coarsest on: a stride of 4 takes three quarters of the time.
_LEVELS = 3
# torchvision sets the epsilon of the norms in these published networks to 0.
_WITHOUT_EPSILON = ("fasterrcnn_resnet50_fpn", "retinanet_resnet50_fpn")


def create_detector(name: str) -> nn.Module:
    """Create torchvision's detection model with its head."""
    model: nn.Module = getattr(detection, name)(weights=None, weights_backbone=None)
    if name in _WITHOUT_EPSILON:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = 0.0
    return model


@family("fasterrcnn", "retinanet", "fcos")
def _with_pyramid(model: Any) -> Parts:
    body, fpn = model.backbone.body, model.backbone.fpn
    names = list(body)
    first, *others = [names.index(name) + 1 for name in body.return_layers][-_LEVELS:]
    stages = [
        nn.Sequential(*(body[name] for name in names[begin:end]))
        for begin, end in zip([first, *others], others, strict=False)
    ]
    outer = list(fpn.layer_blocks)[-_LEVELS:]
    if "layer1" not in names:
        outer = outer[:1]  # MobileNet's two levels have the same stride
    pyramid = _Pyramid(stages, list(fpn.inner_blocks)[-_LEVELS:], outer)
    return _chain(body, names[:first]) | {"pyramid": pyramid}, _Coarsest()


@family("ssdlite")
def _ssdlite(model: Any) -> Parts:
    stages = enumerate(model.backbone.features)
    return {f"features_{i}_{j}": layer for i, stage in stages for j, layer in enumerate(stage)}, average()


@family("ssd")
def _ssd(model: Any) -> Parts:
    (*fifth, dense), last, *_ = model.backbone.extra
    layers = groups([*model.backbone.features, *fifth], starts=nn.Conv2d)
    blocks: Blocks = {f"conv{i}": nn.Sequential(*group) for i, group in enumerate(layers, 1)}
    return blocks | {"fc7": dense, "conv8_2": last}, average()


class _Pyramid(nn.Module):
    """Stages of a backbone, and a feature pyramid on their input and outputs.

    Parameters
    ----------
    stages
        The first takes the input, the others the output of the one before.
    inner, outer
        torchvision's `inner_blocks` for the input and the output of each stage, and `layer_blocks` for the
        finest of these.
    """

    def __init__(
        self, stages: Sequence[nn.Module], inner: Sequence[nn.Module], outer: Sequence[nn.Module]
    ) -> None:
        super().__init__()
        self.stages, self.inner, self.outer = map(nn.ModuleList, (stages, inner, outer))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:  # (N, C, H, W) -> levels (N, 256, h, w)
        maps = [x]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        merged = [self.inner[-1](maps[-1])]
        for number in range(len(maps) - 2, -1, -1):
            lateral = self.inner[number](maps[number])
            merged.insert(0, lateral + F.interpolate(merged[0], size=lateral.shape[-2:], mode="nearest"))
        return tuple(outer(x) for outer, x in zip(self.outer, merged, strict=False))


class _Coarsest(nn.Module):
    """The mean of the coarsest level."""

    def forward(self, levels: Sequence[Tensor]) -> Tensor:  # -> (N, 256)
        return levels[-1].mean((2, 3))


def _chain(body: Any, names: Sequence[str]) -> Blocks:
    """The blocks of a ResNet or MobileNet with these children."""
    if "layer1" not in names:
        return {f"features_{name}": body[name] for name in names}
    stem = OrderedDict((name, body[name]) for name in names if not name.startswith("layer"))
    blocks: Blocks = {"stem": nn.Sequential(stem)}
    for stage in names[len(stem) :]:
        blocks |= {f"{stage}_{i}": block for i, block in enumerate(body[stage])}
    return blocks
