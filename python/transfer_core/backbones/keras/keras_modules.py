"""Torch modules for Keras' layers that torch has no counterpart for, on images as (N, C, H, W)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Size, Tensor, nn
from torch.nn import functional


class Affine(nn.Module):
    """x * scale + offset per channel, with constants."""

    scale: Tensor
    offset: Tensor

    def __init__(self, shape: Size) -> None:
        super().__init__()
        wide = (shape[1], 1, 1) if len(shape) == 4 else (shape[-1],)
        self.register_buffer("scale", torch.ones(wide))
        self.register_buffer("offset", torch.zeros(wide))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W), or (N, …, C)."""
        return x * self.scale + self.offset


class LayerScale(nn.Module):
    """x * gamma per channel (Touvron et al. 2021, CaiT)."""

    def __init__(self, shape: Size) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones((shape[1], 1, 1) if len(shape) == 4 else (shape[-1],)))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W), or (N, …, C)."""
        return x * self.gamma


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels at each place."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W)."""
        last = x.permute(0, 2, 3, 1)
        return functional.layer_norm(last, self.normalized_shape, self.weight, self.bias, self.eps).permute(
            0, 3, 1, 2
        )


class Luminance(nn.Module):
    """Convert RGB to one channel of luminance, like PIL (ITU-R BT.601)."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 1, H, W)."""
        return x[:, 0:1] * 0.299 + x[:, 1:2] * 0.587 + x[:, 2:3] * 0.114


class Average(nn.Module):
    """The mean over some dimensions."""

    def __init__(self, over: Sequence[int], keep: bool) -> None:
        super().__init__()
        self._over, self._keep = tuple(over), keep

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C), or (N, C, 1, 1)."""
        return x.mean(self._over, keepdim=self._keep)


class Greatest(Average):
    """The maximum over some dimensions."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C), or (N, C, 1, 1)."""
        return x.amax(self._over, keepdim=self._keep)


class Reshape(nn.Module):
    """Reshape each example in Keras' layout, in which channels are the last axis of an image."""

    def __init__(self, before: Size, after: Sequence[int]) -> None:
        super().__init__()
        self._picture = len(before) == 4
        self._after = tuple(after)

    def forward(self, x: Tensor) -> Tensor:
        """(N, …) -> (N, …)."""
        if self._picture:
            x = x.permute(0, 2, 3, 1)
        x = x.reshape(-1, *self._after)
        return x.permute(0, 3, 1, 2) if len(self._after) == 3 else x


class Together(nn.Module):
    """Reduce all inputs by a function of two: a + b + c."""

    def __init__(self, function: Callable[[Any, Any], Tensor]) -> None:
        super().__init__()
        self._function = function

    def forward(self, *x: Tensor) -> Tensor:
        """Tensors of one rank."""
        return reduce(self._function, x)


class Concatenated(nn.Module):
    """Concatenation along a dimension."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self._dimension = dimension

    def forward(self, *x: Tensor) -> Tensor:
        """(N, C, H, W) each -> (N, sum of C, H, W)."""
        return torch.cat(x, self._dimension)


class WithNumber(nn.Module):
    """A function of a tensor and a number, which is the `first` argument or the second: 1 - x, x - 1."""

    def __init__(self, function: Callable[[Any, Any], Tensor], number: float, first: bool) -> None:
        super().__init__()
        self._function, self._number, self._first = function, number, first

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return self._function(self._number, x) if self._first else self._function(x, self._number)
