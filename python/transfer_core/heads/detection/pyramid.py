"""Feature pyramid over the maps of a backbone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool


class Standardize(nn.Module):
    """(x - mean) / scale per channel, with fixed statistics of the training images."""

    mean: Tensor
    scale: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.register_buffer("scale", torch.ones(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return (x - self.mean) / self.scale


class Pyramid(nn.Module):
    """Feature pyramid network (Lin et al. 2017) on standardized maps, with one more level of twice the
    largest stride.

    Parameters
    ----------
    widths
        Channels of the maps, from the smallest stride to the largest.
    channels
        Channels of every level.
    """

    def __init__(self, widths: Sequence[int], channels: int) -> None:
        super().__init__()
        self.inputs = nn.ModuleList(Standardize(width) for width in widths)
        self.fpn = FeaturePyramidNetwork(list(widths), channels, LastLevelMaxPool())

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps (N, C, H, W) to levels (N, `channels`, H, W), one more than maps."""
        named = OrderedDict(
            (str(number), standardize(x))
            for number, (standardize, x) in enumerate(zip(self.inputs, maps, strict=True))
        )
        return list(self.fpn(named).values())

    def fit(self, maps: Sequence[Tensor]) -> None:
        """Set the statistics to those of `maps` (N, C, H, W); a channel that is constant keeps its scale."""
        for standardize, x in zip(self.inputs, maps, strict=True):
            assert isinstance(standardize, Standardize)
            deviation, mean = torch.std_mean(x, dim=(0, 2, 3), correction=0)
            standardize.mean.copy_(mean.view(-1, 1, 1))
            standardize.scale.copy_(torch.where(deviation > 1e-6, deviation, 1.0).view(-1, 1, 1))
