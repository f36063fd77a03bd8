"""The frozen engine: one decode and one fused forward pass per image."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from transfer_core.backbones import Backbone, Preprocessing
from transfer_core.errors import DataError
from transfer_core.features.fuse import fuse
from transfer_core.features.loading import Load, Loaded, load_batches, load_one
from transfer_core.features.parallel import map_on_cores
from transfer_core.features.pixels import PIXELS_VERSION, Pixels, normalize, to_batch

# Activations of this many images stay in a core's cache; a GPU wants more to do at once.
CPU_BATCH, GPU_BATCH = 8, 64


@dataclass(frozen=True)
class Extractor:
    """Turns pixels into embeddings with a frozen backbone.

    `fingerprint` names everything but the image that the embeddings depend on.
    """

    network: nn.Module
    preprocessing: Preprocessing
    width: int
    device: torch.device
    dtype: torch.dtype
    fingerprint: str

    @property
    def batch_size(self) -> int:
        """Images per forward pass."""
        return CPU_BATCH if self.device.type == "cpu" else GPU_BATCH

    def embed(self, pixels: Sequence[Pixels]) -> Tensor:
        """Embeddings (N, D), float32 on the cpu, of N images of uint8 (H, W, 3).

        Where a GPU's memory is too small for all of them, in halves.
        """
        try:
            return self._forward(pixels)
        except torch.cuda.OutOfMemoryError:
            if len(pixels) == 1:
                raise
        middle = len(pixels) // 2
        return torch.cat([self.embed(pixels[:middle]), self.embed(pixels[middle:])])

    @torch.no_grad()
    def _forward(self, pixels: Sequence[Pixels]) -> Tensor:
        batch = to_batch(pixels).to(self.device)
        return self.network(normalize(batch, self.preprocessing, self.dtype)).float().cpu()  # type: ignore[no-any-return]


def build_extractor(backbone: Backbone, device: torch.device, dtype: torch.dtype) -> Extractor:
    """An extractor for `backbone` as it is now; later changes to the backbone don't reach it."""
    network = fuse(backbone).to(device=device, dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    facts = (backbone.facts.name, backbone.weights_digest, backbone.preprocessing, device.type, dtype)
    fingerprint = hashlib.sha256(repr((PIXELS_VERSION, *facts)).encode()).hexdigest()
    return Extractor(
        network, backbone.preprocessing, backbone.facts.embedding_width, device, dtype, fingerprint
    )


def embed_all(extractor: Extractor, loads: Sequence[Load]) -> Iterator[list[Tensor | DataError]]:
    """For each batch of `loads`, the embedding (D,) of each image or the error of its decoding.

    Every batch is filled up to the same size: to the last bit, an embedding does not depend on what else was
    asked for.
    """
    size = extractor.batch_size
    if extractor.device.type == "cpu":
        batches = (loads[start : start + size] for start in range(0, len(loads), size))
        return map_on_cores(lambda batch: embed_batch(extractor, batch, size), batches)
    return (_embed_loaded(extractor, loaded, size) for loaded in load_batches(loads, size))


def embed_batch(extractor: Extractor, loads: Sequence[Load], size: int) -> list[Tensor | DataError]:
    """The same for one batch, by a forward pass over `size` images."""
    return _embed_loaded(extractor, [load_one(load) for load in loads], size)


def _embed_loaded(extractor: Extractor, outcomes: Sequence[Loaded], size: int) -> list[Tensor | DataError]:
    good = [outcome for outcome in outcomes if not isinstance(outcome, DataError)]
    filled = good + [good[-1]] * (size - len(good)) if good else []
    rows = iter(extractor.embed(filled) if filled else ())
    return [outcome if isinstance(outcome, DataError) else next(rows) for outcome in outcomes]
