"""Which blocks of a network of images give feature maps or tokens, found out by running them once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from transfer_core.backbones.representations import FeatureMap, TokenStates

# The sides of the image: their ratio distinguishes height, width and channels; their difference is a multiple
# of every usual stride.
_HEIGHT, _WIDTH = 128, 224

# Shapes by the name of the block and, if its output is a tuple, the place in it.
Outputs = dict[tuple[str, int | None], tuple[int, ...]]


def describe_outputs(
    blocks: Mapping[str, nn.Module], image_size: int, device: str = "cpu"
) -> tuple[tuple[FeatureMap, ...], TokenStates | None]:
    """The feature maps and the tokens of a network, from shapes alone.

    A map is the output of the last block of each stride, of a pyramid the finest level. A network that
    refuses images of other sides than `image_size` has no maps, as tasks that need maps need large images.
    Tokens are the last output of three dimensions.

    Parameters
    ----------
    blocks
        In the order in which they run, in eval mode; on the device `meta` nothing is computed.
    image_size
        The side of the images that the network was published for, in pixels.
    """
    outputs = _outputs(blocks, _HEIGHT, _WIDTH, device)
    maps: dict[int, FeatureMap] = {}
    for (name, level), shape in outputs.items():
        if found := _feature_map(name, level, shape):
            maps[found.stride] = found
    outputs = outputs or _outputs(blocks, image_size, image_size, device)
    tokens = [TokenStates(name, shape[2]) for (name, _), shape in outputs.items() if len(shape) == 3]
    return tuple(maps[stride] for stride in sorted(maps)), tokens[-1] if tokens else None


@torch.no_grad()
def _outputs(blocks: Mapping[str, nn.Module], height: int, width: int, device: str) -> Outputs:
    """The shape of each block's output for one image; empty for a network that refuses this size."""
    x: Any = torch.zeros(1, 3, height, width, device=device)
    shapes: Outputs = {}
    try:
        for name, block in blocks.items():
            x = block(x)
            if isinstance(x, tuple):
                shapes |= {(name, level): tuple(x[level].shape) for level in reversed(range(len(x)))}
            else:
                shapes[name, None] = tuple(x.shape)
    except Exception:  # networks refuse sizes with nearly any
        return {}
    return shapes


def _feature_map(block: str, level: int | None, shape: tuple[int, ...]) -> FeatureMap | None:
    """An output of `block` as a map, if it is one."""
    if len(shape) != 4:
        return None
    for channels_last, (height, width, channels) in enumerate(
        ((shape[2], shape[3], shape[1]), (shape[1], shape[2], shape[3]))
    ):
        more = width - height
        if more > 0 and (_WIDTH - _HEIGHT) % more == 0:
            stride = (_WIDTH - _HEIGHT) // more
            # Without padding, a map is a little smaller than its share of the image.
            if _HEIGHT / 2 <= height * stride <= _HEIGHT:
                return FeatureMap(block, stride, channels, bool(channels_last), level)
    return None
