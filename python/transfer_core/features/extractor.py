"""The frozen engine: one decode and one fused forward pass per image, overlapping."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from transfer_core.backbones import Backbone, Preprocessing
from transfer_core.errors import DataError
from transfer_core.features.fuse import fuse
from transfer_core.features.loading import Load, load_batches
from transfer_core.features.pixels import PIXELS_VERSION, Pixels, normalize, to_batch

BATCH = 16


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

    @torch.no_grad()
    def embed(self, pixels: Sequence[Pixels]) -> Tensor:
        """Embeddings (N, D), float32 on the cpu, of N images of uint8 (H, W, 3)."""
        batch = to_batch(pixels).to(self.device, non_blocking=True)
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

    Images are decoded in threads while the backbone works on those before. Where there is more than one
    batch, each is filled up to the same size: an embedding does not depend on how many came with it.
    """
    for outcomes in load_batches(loads, BATCH):
        good = [outcome for outcome in outcomes if not isinstance(outcome, DataError)]
        padding = [good[-1]] * (BATCH - len(good)) if good and len(loads) > BATCH else []
        rows = iter(extractor.embed([*good, *padding]) if good else ())
        yield [outcome if isinstance(outcome, DataError) else next(rows) for outcome in outcomes]
