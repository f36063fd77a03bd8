"""NanoDet-g (https://github.com/RangiLyu/nanodet) as blocks: CSP stages and a path aggregation pyramid."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH = 128  # of each level of the pyramid
_SLOPE = 0.1


def nanodet_blocks() -> dict[str, nn.Module]:
    """The blocks; the last one outputs levels of stride 8, 16 and 32, which NanoDet predicts from."""
    return {
        "stem": nn.Sequential(_conv(3, 32, stride=2), nn.MaxPool2d(3, 2, 1)),
        "stage1": _Stage(32, 32, 1, 1),
        "stage2": _Stage(64, 64, 2, 2),
        "pyramid": _Pyramid(),
    }


class Coarsest(nn.Module):
    """The mean of the coarsest level."""

    def forward(self, levels: tuple[Tensor, ...]) -> Tensor:
        """Levels (N, C, h, w) -> (N, C)."""
        return levels[-1].mean((2, 3))


class _Stage(nn.Module):
    """Cross-stage partial connections (Wang et al. 2019)."""

    def __init__(self, before: int, width: int, repeats: int, stride: int) -> None:
        super().__init__()
        self.enter = _conv(before, width, stride=stride)
        self.inner = nn.Sequential(*(_Half(width) for _ in range(repeats)))
        self.leave = _conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 2 width, H', W')."""
        x = self.enter(x)
        return torch.cat((self.leave(self.inner(x)), x), 1)


class _Half(nn.Module):
    """Two convolutions of half the width in succession, and both outputs."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = _conv(width, width // 2), _conv(width // 2, width // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        x = self.first(x)
        return torch.cat((self.second(x), x), 1)


class _Pyramid(nn.Module):
    """Stages of stride 16 and 32, path aggregation (Liu et al. 2018), and a convolution at each level."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList((_Stage(128, 128, 2, 2), _Stage(256, 256, 3, 2)))
        self.lateral = nn.ModuleList(nn.Conv2d(width, WIDTH, 1) for width in (128, 256, 512))
        self.outer = nn.ModuleList(_conv(WIDTH, WIDTH) for _ in range(3))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 128, H, W) -> three levels (N, 128, h, w)."""
        maps = [x]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        fine, middle, coarse = (lateral(x) for lateral, x in zip(self.lateral, maps, strict=True))
        middle = middle + _resized(coarse, middle)
        fine = fine + _resized(middle, fine)
        middle = middle + _resized(fine, middle)
        coarse = coarse + _resized(middle, coarse)
        return tuple(outer(x) for outer, x in zip(self.outer, (fine, middle, coarse), strict=True))


def _conv(before: int, width: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, width, 3, stride, 1), nn.LeakyReLU(_SLOPE, inplace=True))


def _resized(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear")
