"""The frozen part of a network for object detection: inputs to feature maps in half precision."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import PIL
import torch
from torch import Tensor, nn

from transfer_core.backbones import Backbone
from transfer_core.backbones.representations import FeatureMap
from transfer_core.features.boundary import first_blocks
from transfer_core.features.inference import INFERENCE_VERSION, Inference, Plan, Variants
from transfer_core.features.letterbox import LETTERBOX_VERSION
from transfer_core.features.parallel import on_one_core
from transfer_core.features.pixels import Pixels, normalize, to_batch
from transfer_core.features.plan import plan_for

# (C, H, W) for a map, any shape for the input of the first trained block.
Shape: TypeAlias = tuple[int, ...]
Rows: TypeAlias = npt.NDArray[Any]

_LARGEST = float(np.finfo(np.float16).max)
# Maps of a few inputs stay in a core's cache.
_CPU_BATCH = 4


@dataclass(frozen=True)
class Layout:
    """What a row of values holds, one after the other.

    Attributes
    ----------
    maps
        Blocks whose outputs are in it, and their shapes (C, H, W); stored as (H, W, C).
    entry
        Shape of the input of the first trained block; None if that is the last of `maps`, or nothing is
        trained. Without frozen blocks, the pixels (3, S, S).
    """

    maps: dict[str, Shape]
    entry: Shape | None = None

    @property
    def width(self) -> int:
        """Values per row."""
        return sum(map(math.prod, self._shapes))

    @property
    def _shapes(self) -> list[Shape]:
        return [*self.maps.values(), *([self.entry] if self.entry else [])]

    def unpack(self, rows: Tensor) -> tuple[dict[str, Tensor], Tensor | None]:
        """Rows (N, width) to maps (N, C, H, W) by block, and the input of the first trained block."""
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
        device: torch.device,
        precision: str,
    ) -> None:
        names = list(dict(backbone.blocks.named_children()))
        needed = 1 + max(names.index(found.block) for found in maps)
        self.image_size = image_size
        self.device = device
        self.preprocessing = backbone.preprocessing
        self._maps = {found.block: found for found in maps if found.block in names[:begin]}
        self._names = names[: min(begin, needed)]
        self._needs_entry = begin < needed
        self._front = first_blocks(backbone, len(self._names))
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
        how = (LETTERBOX_VERSION, PIL.__version__, self.preprocessing, self.image_size, *self._maps)
        run = (INFERENCE_VERSION, self.device.type, self._plan, self._needs_entry, self.batch_size)
        return hashlib.sha256(repr((how, self._front.identity, run)).encode()).hexdigest()

    @cached_property
    def layout(self) -> Layout:
        """The layout of rows, from the outputs for one blank input."""
        size = self.image_size
        if not self._names:
            return Layout({}, (3, size, size))
        maps, last = self._outputs(torch.zeros(1, 3, size, size, dtype=torch.uint8))
        shapes = {name: tuple(x.shape[1:]) for name, x in maps.items()}
        return Layout(shapes, tuple(last.shape[1:]) if self._stores_entry(maps) else None)

    def maps(self, pixels: Sequence[Pixels]) -> list[Tensor]:
        """Feature maps (N, C, H, W), float32, of N inputs, from the smallest stride to the largest."""
        maps, _ = self._outputs(to_batch(pixels))
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
        maps, last = self._outputs(to_batch(filled))
        entry = [last] if self._stores_entry(maps) else []
        flat = [_flat(x[: len(pixels)]) for x in (*maps.values(), *entry)]
        found: Rows = torch.cat(flat, dim=1).cpu().numpy()
        return found

    def _stores_entry(self, maps: dict[str, Tensor]) -> bool:
        """Whether the input of the first trained block is not among the maps."""
        last = self._names[-1]
        return self._needs_entry and (last not in maps or self._maps[last].channels_last)

    @torch.no_grad()
    def _outputs(self, pixels: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Maps (N, C, H, W) by block, and the output of the last block."""
        network, plan = self._network, self._plan
        x = normalize(pixels.to(self.device), self.preprocessing, torch.float32)
        maps: dict[str, Tensor] = {}
        for number, (name, block) in enumerate(zip(self._names, _blocks(network), strict=True)):
            if number == plan.exact and plan.dtype != "float32":
                x = x.to(getattr(torch, plan.dtype))
            x = block(x)
            if name in self._maps:
                maps[name] = _halved(x.permute(0, 3, 1, 2) if self._maps[name].channels_last else x)
        ordered = {name: maps[name] for name in self._maps}
        return ordered, _halved(x)

    @cached_property
    def _variants(self) -> Variants:
        return Variants(self._front, self.device)

    @cached_property
    def _plan(self) -> Plan:
        return on_one_core(lambda: plan_for(self._variants, self._precision))

    @cached_property
    def _network(self) -> Inference:
        return on_one_core(lambda: self._variants.network(self._plan))


def _blocks(network: Inference) -> list[nn.Module]:
    return [*network.exact, *network.reduced]


def _halved(x: Tensor) -> Tensor:
    """float16, at most its largest number; a copy, since later blocks may work in place."""
    return x.float().clamp(-_LARGEST, _LARGEST).half()


def _flat(x: Tensor) -> Tensor:
    """(N, C, H, W) to (N, H W C); other shapes as they are."""
    return (x.permute(0, 2, 3, 1) if x.dim() == 4 else x).reshape(len(x), -1)


def _channels_first(part: Tensor, shape: Shape) -> Tensor:
    """(N, H W C) to (N, C, H, W) in channels_last memory; other shapes as they are."""
    if len(shape) != 3:
        return part.reshape(len(part), *shape)
    channels, height, width = shape
    return part.reshape(len(part), height, width, channels).permute(0, 3, 1, 2)
