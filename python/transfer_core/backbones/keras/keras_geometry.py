"""Convert padding, pooling and axes from Keras to torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Size

from transfer_core.backbones.keras.keras_graph import Config


def pooling(config: Config, shape: Size) -> dict[str, Any] | None:
    """The arguments of torch's pooling; None if torch has no such padding."""
    size, stride = config["pool_size"], config["strides"] or config["pool_size"]
    before, after = padding(config["padding"], shape, size, stride, [1, 1])
    # Keras ignores values beyond the border. So does torch if a window begins before the border.
    uneven = [a != b for a, b in zip(before, after, strict=True)]
    if any(odd and step == 1 for odd, step in zip(uneven, stride, strict=True)):
        return None
    return {
        "kernel_size": tuple(size),
        "stride": tuple(stride),
        "padding": tuple(before),
        "ceil_mode": any(uneven),
    }


def padding(
    kind: str, shape: Size, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Padding before and after each spatial axis, in pixels.

    Parameters
    ----------
    kind
        Keras' "valid" or "same"; with "same", an odd number has one more after the axis.
    shape
        Of the input, (N, C, H, W).
    kernel, stride, dilation
        Of the layer, per spatial axis.
    """
    if kind.lower() != "same":
        return [0, 0], [0, 0]
    lacking = [
        max(0, (math.ceil(size / step) - 1) * step + (width - 1) * apart + 1 - size)
        for size, width, step, apart in zip(shape[2:], kernel, stride, dilation, strict=True)
    ]
    return [total // 2 for total in lacking], [total - total // 2 for total in lacking]


def space(shape: Size) -> tuple[int, ...]:
    """The spatial dimensions: neither examples nor channels."""
    return (2, 3) if len(shape) == 4 else tuple(range(1, len(shape) - 1))


def is_last(axis: Any, shape: Size) -> bool:
    """Whether a setting means Keras' last axis, the channels."""
    return axis in (-1, len(shape) - 1, [-1], [len(shape) - 1])


def dimension(axis: int, rank: int) -> int:
    """Our dimension of Keras' axis."""
    axis = axis % rank
    return {1: 2, 2: 3, 3: 1}.get(axis, axis) if rank == 4 else axis
