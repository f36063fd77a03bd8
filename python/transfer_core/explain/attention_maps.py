"""Attention weights of a transformer for one input, per head and rolled out."""

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
from transfer_core.explain.alignment import Alignment
from transfer_core.explain.attention import patches, record, rollout
from transfer_core.explain.explanation import save
from transfer_core.runtime.errors import Problem, RecipeError
from transfer_core.tasks.criteria import Array

# Bytes of all maps; pixels of a map in the grid of an image.
_MOST_BYTES, _TILE = 2**28, 96


@dataclass(frozen=True, eq=False)
class AttentionMaps:
    """Attention of a transformer for one input of L tokens.

    Attributes
    ----------
    heads
        (layers, H, L, L) float32: the attention of each head from a token (row) to the others; rows add up
        to 1.
    rolled_out
        (L, L) float32: the attention multiplied through all layers (Abnar and Zuidema 2020).
    tokens
        (L,) names of the tokens of a text, empty for special ones; None for an image, whose last tokens are
        its square of patches by rows.
    image
        (H, W, 3) uint8: the center crop of an image; None for a text.
    """

    heads: Array
    rolled_out: Array
    tokens: tuple[str, ...] | None = None
    image: Array | None = None

    @cached_property
    def overlay(self) -> bytes:
        """A PNG: of an image the rollout of its first token, and below it the heads of the last layer; of a
        text the matrix of the rollout."""
        if self.tokens is not None:
            return pictures.matrix(Alignment(self.tokens, self.tokens, self.rolled_out))
        assert self.image is not None
        size = self.image.shape[1], self.image.shape[0]
        rows = [self.rolled_out[0], *self.heads[-1, :, 0]]
        maps = [Image.fromarray(patches(row).astype(np.float32)).resize(size) for row in rows]
        whole = [Image.open(_file(pictures.overlay(self.image, np.asarray(one)))) for one in maps]
        columns = max(1, size[0] // _TILE)
        height = size[1] + _TILE * -(-len(whole[1:]) // columns)
        picture = Image.new("RGB", size if len(whole) == 1 else (size[0], height), "white")
        picture.paste(whole[0], (0, 0))
        for number, one in enumerate(whole[1:]):
            row, column = divmod(number, columns)
            picture.paste(one.resize((_TILE - 2, _TILE - 2)), (column * _TILE, size[1] + row * _TILE))
        return pictures.png(picture)

    def save(self, path: str | Path) -> Path:
        """Write the picture (`….png`), a page (`….html`), or all weights (`….json`); see
        `Explanation.save`."""
        return save(self, path)

    def to_html(self) -> str:
        """A fragment of HTML without scripts and requests, with tokens escaped."""
        layers, heads, length, _ = self.heads.shape
        found = markup.described({"layers": layers, "heads": heads, "tokens": length})
        if self.tokens is not None:
            return found + markup.alignment(Alignment(self.tokens, self.tokens, self.rolled_out))
        return found + markup.picture(self.overlay, "attention rollout, and the heads of the last layer")

    def _repr_html_(self) -> str:
        return self.to_html()

    def _repr_png_(self) -> bytes:
        return self.overlay

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain data, without the image."""
        tokens = None if self.tokens is None else [*self.tokens]
        return {"heads": self.heads.tolist(), "rolled_out": self.rolled_out.tolist(), "tokens": tokens}


def attention_maps(
    backbone: Backbone, inputs: Tensor, tokens: tuple[str, ...] | None, image: Array | None
) -> AttentionMaps:
    """The attention of all layers for one input of the network (1, …).

    Raises
    ------
    RecipeError
        If the network has no attention over all tokens, or it takes too much memory.
    """
    with torch.enable_grad():  # without it, torch runs fused layers that compute no weights
        maps, _ = record(backbone, inputs)
    if maps is None:
        message = (
            f"{backbone.facts.name} has no attention over all tokens. Fix: use a vision or text transformer"
        )
        raise RecipeError([Problem("input", message)])
    if 4 * sum(one.numel() for one in maps) > _MOST_BYTES:
        message = f"the attention to {maps[0].shape[-1]} tokens takes more than {_MOST_BYTES >> 20} MiB"
        raise RecipeError([Problem("input", f"{message}. Fix: shorten the text")])
    heads = torch.stack([one.detach()[0].float() for one in maps]).numpy()
    return AttentionMaps(heads, rollout(maps).float().numpy(), tokens, image)


def _file(content: bytes) -> Any:
    import io

    return io.BytesIO(content)
