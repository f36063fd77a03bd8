"""Channel maps of a block of a network."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from transfer_core.backbones.backbone import Backbone
from transfer_core.explain import markup, pictures
from transfer_core.explain.attention import patches
from transfer_core.explain.class_activation import image_tensor, last_map
from transfer_core.explain.explanation import save
from transfer_core.runtime.errors import Problem, RecipeError, did_you_mean
from transfer_core.tasks.criteria import Array

# Pixels of a map in the picture.
_TILE = 96


@dataclass(frozen=True, eq=False)
class Features:
    """The most active channels of a block for one image.

    Attributes
    ----------
    block
        Name of the block.
    channels
        (C,) indices, the most active first: those with the largest mean magnitude.
    maps
        (C, h, w) float32: the outputs of these channels.
    """

    block: str
    channels: tuple[int, ...]
    maps: Array

    @cached_property
    def overlay(self) -> bytes:
        """A PNG: a grid of the maps in their order by rows, each scaled to its own range."""
        columns = max(1, round(len(self.maps) ** 0.5))
        rows = -(-len(self.maps) // columns)
        picture = Image.new("L", (columns * _TILE, rows * _TILE))
        for number, one in enumerate(self.maps):
            span = max(float(np.ptp(one)), 1e-12)
            tile = Image.fromarray(((one - one.min()) / span * 255).astype(np.uint8))
            row, column = divmod(number, columns)
            picture.paste(tile.resize((_TILE - 2, _TILE - 2)), (column * _TILE, row * _TILE))
        return pictures.png(picture)

    def save(self, path: str | Path) -> Path:
        """Write the picture (`….png`), a page (`….html`), or the maps (`….json`); see `Explanation.save`."""
        return save(self, path)

    def to_html(self) -> str:
        """A fragment of HTML without scripts and requests."""
        facts = {"block": self.block, "channels": ", ".join(map(str, self.channels))}
        return markup.described(facts) + markup.picture(self.overlay, f"channels of {self.block}")

    def _repr_html_(self) -> str:
        return self.to_html()

    def _repr_png_(self) -> bytes:
        return self.overlay

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain data."""
        return {"block": self.block, "channels": [*self.channels], "maps": self.maps.tolist()}


@torch.no_grad()
def channel_maps(backbone: Backbone, pixels: Array, block: str | None, most: int) -> Features:
    """The most active channels of a block.

    Parameters
    ----------
    backbone
        The network.
    pixels
        (H, W, 3) uint8, as the network takes it.
    block
        A name of `facts.blocks`; None: the last one with spatial maps, or with patches.
    most
        Channels.

    Raises
    ------
    RecipeError
        At `block`, if it is unknown or its output has no places of the image.
    """
    names = [name for name, _ in backbone.blocks.named_children()]
    if block is not None and block not in names:
        hint = did_you_mean(block, names) or ""
        message = f'{backbone.facts.name} has no block "{block}"{hint} (one of: {", ".join(names)})'
        raise RecipeError([Problem("block", message)])
    x = image_tensor(pixels, backbone)
    wanted = block
    if wanted is None:
        found = last_map(backbone, x)
        wanted = names[found[0]] if found else None
    maps = None
    for name, module in backbone.blocks.named_children():
        x = module(x)
        of_block = _spatial(x)
        if wanted is None and of_block is not None:
            block, maps = name, of_block
        elif name == wanted:
            block, maps = name, of_block
            break
    if maps is None or block is None:
        raise RecipeError([Problem("block", f"the output of {block} has no places of the image")])
    activity = maps.abs().mean(dim=(1, 2))
    channels = activity.argsort(descending=True, stable=True)[:most]
    return Features(block, tuple(channels.tolist()), maps[channels].float().numpy())


def _spatial(x: Any) -> Tensor | None:
    """The output of a block as (C, h, w): of maps with channels first or last, or of tokens of patches."""
    if isinstance(x, tuple | list):  # levels of a pyramid: the finest
        x = x[0] if x else None
    if not isinstance(x, Tensor):
        return None
    if x.ndim == 4:
        _, first, second, third = x.shape
        return x[0].permute(2, 0, 1) if first == second != third else x[0]
    if x.ndim == 3:
        return torch.stack([torch.from_numpy(patches(row)) for row in x[0].T.numpy()])
    return None
