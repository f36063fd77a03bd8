"""The frozen part of a network for object detection: inputs to feature maps in half precision."""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
import PIL
import torch
from torch import Tensor, nn

from transfer_core.backbones import Backbone
from transfer_core.backbones.representations import FeatureMap
from transfer_core.features.extractor import ImageExtractor, image_extractor
from transfer_core.features.letterbox import LETTERBOX_VERSION
from transfer_core.features.pixels import Pixels
from transfer_core.runtime.devices import Device

# (C, H, W) for a map, any shape for the input of the first trained block.
Shape: TypeAlias = tuple[int, ...]
Rows: TypeAlias = npt.NDArray[Any]

LARGEST_VALUE = float(np.finfo(np.float16).max)
# Maps of a few inputs stay in a core's cache.
_CPU_BATCH = 4


@dataclass(frozen=True)
class Layout:
    """What a row of values holds, one after the other.

    Attributes
    ----------
    maps
        The maps in it, and their shapes (C, H, W); stored as (H, W, C).
    entry
        Shape of the input of the first trained block; None if that is the last of `maps`, or nothing is
        trained. Without frozen blocks, the pixels (3, S, S).
    """

    maps: dict[FeatureMap, Shape]
    entry: Shape | None = None

    @property
    def width(self) -> int:
        """Values per row."""
        return sum(map(math.prod, self._shapes))

    @property
    def _shapes(self) -> list[Shape]:
        return [*self.maps.values(), *([self.entry] if self.entry else [])]

    def unpack(self, rows: Tensor) -> tuple[dict[FeatureMap, Tensor], Tensor | None]:
        """Rows (N, width) to maps (N, C, H, W), and the input of the first trained block."""
        parts = torch.split(rows, [math.prod(shape) for shape in self._shapes], dim=1)
        found = [_channels_first(part, shape) for part, shape in zip(parts, self._shapes, strict=True)]
        maps = dict(zip(self.maps, found, strict=False))
        return maps, found[-1] if self.entry else None


class FrozenMaps:
    """The blocks of a backbone before number `begin`, and the maps among their outputs.

    Parameters
    ----------
    backbone
        The backbone; later changes to it have no effect.
    maps
        The feature maps that a detector uses.
    begin
        Number of frozen blocks; only blocks that a map needs are run.
    image_size
        Side of the inputs in pixels.
    device, precision
        Where and how it runs; `auto` takes the fastest precision that keeps the outputs.
    """

    def __init__(
        self,
        backbone: Backbone,
        maps: Sequence[FeatureMap],
        begin: int,
        image_size: int,
        device: Device,
        precision: str,
    ) -> None:
        names = list(dict(backbone.blocks.named_children()))
        needed = 1 + max(names.index(found.block) for found in maps)
        self.image_size = image_size
        self.device = device
        self.preprocessing = backbone.preprocessing
        self._names = names[: min(begin, needed)]
        self._front = MapOutputs(
            nn.Sequential(OrderedDict((name, backbone.blocks.get_submodule(name)) for name in self._names)),
            [found for found in maps if found.block in names[:begin]],
            begin < needed,
        )
        self._network = _as_backbone(backbone, self._front, image_size)
        self._precision = precision

    @property
    def batch_size(self) -> int:
        """Inputs per forward pass."""
        return _CPU_BATCH if self.device.type == "cpu" else 32

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values of a row."""
        return np.dtype(np.float16 if self._names else np.uint8)

    @cached_property
    def fingerprint(self) -> str:
        """Identifies everything but the view that rows depend on."""
        if not self._names:
            return repr((LETTERBOX_VERSION, self.preprocessing, self.image_size))
        how = (LETTERBOX_VERSION, PIL.__version__, self.preprocessing, self.image_size)
        run = (self._extractor.fingerprint, self.batch_size)
        return hashlib.sha256(repr((how, run)).encode()).hexdigest()

    @cached_property
    def layout(self) -> Layout:
        """The layout of rows, from the outputs for one blank input."""
        size = self.image_size
        if not self._names:
            return Layout({}, (3, size, size))
        with torch.no_grad():
            maps, entry = self._front.outputs(torch.zeros(1, 3, size, size))
        shapes = {found: tuple(x.shape[1:]) for found, x in maps.items()}
        return Layout(shapes, None if entry is None else tuple(entry.shape[1:]))

    def prepare(self) -> None:
        """Make ready what the first prediction would wait for."""
        self.layout  # noqa: B018
        self._extractor.prepare()

    def maps(self, pixels: Sequence[Pixels], few: bool = False) -> list[Tensor]:
        """Feature maps (N, C, H, W), float32, of N inputs, from the smallest stride to the largest.

        Parameters
        ----------
        few
            Whether all cores share these inputs.
        """
        rows = _halved(self._extractor.run(np.stack(pixels), few))
        maps, _ = self.layout.unpack(torch.from_numpy(rows).to(self.device))
        return [x.float() for x in maps.values()]

    def rows(self, pixels: Sequence[Pixels]) -> Rows:
        """Rows (N, width) of N inputs: float16, or uint8 pixels where no block is frozen.

        A forward pass is always over `batch_size` inputs, so that rows don't depend on what else is computed.
        """
        if not self._names:
            return np.stack(pixels).reshape(len(pixels), -1)
        if len(pixels) > self.batch_size:
            parts = (
                pixels[start : start + self.batch_size] for start in range(0, len(pixels), self.batch_size)
            )
            return np.concatenate([self.rows(part) for part in parts])
        filled = [*pixels, *[pixels[-1]] * (self.batch_size - len(pixels))]
        return _halved(self._extractor.run(np.stack(filled))[: len(pixels)])

    @cached_property
    def _extractor(self) -> ImageExtractor:
        return image_extractor(self._network, self.device, self._precision)


class MapOutputs(nn.Module):
    """Blocks in succession, and their outputs that are maps, side by side as rows (N, width)."""

    def __init__(self, blocks: nn.Sequential, maps: Sequence[FeatureMap], needs_entry: bool) -> None:
        super().__init__()
        self.blocks = blocks
        self._maps, self._needs_entry = tuple(maps), needs_entry

    @property
    def identity(self) -> str:
        """Identifies what a row holds."""
        maps = (found.block if found.level is None else (found.block, found.level) for found in self._maps)
        return repr((len(self.blocks), *maps, self._needs_entry))

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, width), as in `Layout`."""
        maps, entry = self.outputs(images)
        parts = [*maps.values(), *([] if entry is None else [entry])]
        return torch.cat([(x.permute(0, 2, 3, 1) if x.dim() == 4 else x).flatten(1) for x in parts], dim=1)

    def outputs(self, x: Tensor) -> tuple[dict[FeatureMap, Tensor], Tensor | None]:
        """Maps (N, C, H, W), and the input of the next block unless it is one of them."""
        found: dict[FeatureMap, Tensor] = {}
        last = ""
        for name, block in self.blocks.named_children():
            x, last = block(x), name
            for declared in self._maps:
                if declared.block == name:
                    # A copy, since later blocks may work in place.
                    found[declared] = declared.of(x).clone()
        is_map = any(
            known.block == last and not known.channels_last and known.level is None for known in found
        )
        return {known: found[known] for known in self._maps}, x if self._needs_entry and not is_map else None


def _as_backbone(backbone: Backbone, front: MapOutputs, image_size: int) -> Backbone:
    """The frozen part as a backbone for images of this size whose embeddings are rows."""
    weights = backbone.weights or backbone.facts.default_weights
    prepared = msgspec.structs.replace(backbone.preprocessing, crop_size=image_size, resize_size=image_size)
    digest = f"{backbone.weights_digest}, maps {front.identity}"
    known = msgspec.structs.replace(weights, preprocessing=prepared)
    rows = Backbone(backbone.facts, {"rows": front}, nn.Identity(), known, digest, code=backbone.code)
    return rows.eval()


def _halved(rows: Rows) -> Rows:
    """float16, at most its largest number."""
    return np.clip(rows, -LARGEST_VALUE, LARGEST_VALUE).astype(np.float16)


def _channels_first(part: Tensor, shape: Shape) -> Tensor:
    """(N, H W C) to (N, C, H, W) in channels_last memory; other shapes as they are."""
    if len(shape) != 3:
        return part.reshape(len(part), *shape)
    channels, height, width = shape
    return part.reshape(len(part), height, width, channels).permute(0, 3, 1, 2)
