"""The frozen engine: one decode and one fused forward pass per image."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import PIL
import torch
from torch import Tensor

from transfer_core.backbones import Backbone, Preprocessing
from transfer_core.features.fitted import fitted_extractor, must_be_fitted
from transfer_core.features.inference import INFERENCE_VERSION, Variants
from transfer_core.features.loading import Load, Loaded, load_batches, load_one
from transfer_core.features.network import NetworkExtractor
from transfer_core.features.parallel import map_on_cores, on_one_core
from transfer_core.features.pixels import (
    PIXELS_VERSION,
    Pixels,
    load_augmented_pixels,
    load_pixels,
    normalize,
    to_batch,
)
from transfer_core.features.plan import plan_for
from transfer_core.features.text import text_extractor
from transfer_core.recipe.schema import Augmentation, TextOptions
from transfer_core.runtime.errors import DataError


class Extractor(Protocol):
    """Turns inputs into embeddings with a frozen backbone."""

    @property
    def fingerprint(self) -> str:
        """Names everything but the input that the embeddings depend on; empty where none are kept."""

    @property
    def width(self) -> int:
        """D, the numbers in an embedding."""

    @property
    def device(self) -> torch.device:
        """Where the network runs."""

    @property
    def batch_size(self) -> int:
        """Inputs per forward pass, as many as are fastest."""

    def prepare(self) -> None:
        """Make ready what the first input would wait for; not by several threads at the same time."""

    def load(self, input: Any, name: str | None = None) -> Any:
        """What the backbone needs of an input: pixels, tokens. Errors call it `name`; raises `DataError`."""

    def load_view(self, input: Any, augmentations: Sequence[Augmentation], rng: np.random.Generator) -> Any:
        """The same for a random view of an input."""

    def embed_all(
        self, loads: Sequence[Load], few: bool = False
    ) -> Iterator[list[tuple[int, Tensor | DataError]]]:
        """For each load its number with the embedding (D,) float32, or with the error that it raised; some
        loads at a time, in any order.

        To the last bit, an embedding does not depend on what else was asked for; unless a `few` are, as fast
        as possible.
        """


@dataclass(frozen=True)
class ImageExtractor(NetworkExtractor):
    """Photos (N, 3, H, W) through a backbone, `batch_size` of them per forward pass."""

    fingerprint: str

    @property
    def preprocessing(self) -> Preprocessing:
        """What photos must go through."""
        return self.variants.backbone.preprocessing

    @property
    def batch_size(self) -> int:
        """Images per forward pass."""
        return self.plan.batch

    def load(self, input: str | bytes, name: str | None = None) -> Pixels:
        """See `Extractor`; a path needs no name."""
        return load_pixels(input, self.preprocessing, None if isinstance(input, str) else name)

    def load_view(
        self, input: str | bytes, augmentations: Sequence[Augmentation], rng: np.random.Generator
    ) -> Pixels:
        """See `Extractor`."""
        return load_augmented_pixels(input, self.preprocessing, augmentations, rng)

    def embed_all(
        self, loads: Sequence[Load], few: bool = False
    ) -> Iterator[list[tuple[int, Tensor | DataError]]]:
        """See `Extractor`; in order."""
        if few and len(loads) <= self.batch_size:
            with self._sharing.threads_for(len(loads)):
                embedded = embed_batch(self, loads, len(loads))
            yield list(enumerate(embedded))
            return
        first = 0
        for batch in embedded_batches(self, loads):
            yield list(enumerate(batch, first))
            first += len(batch)

    def embed(self, pixels: Sequence[Pixels]) -> Tensor:
        """Embeddings (N, D), float32 on the extractor's device, of N images of uint8 (H, W, 3).

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
        batch = to_batch(pixels)
        if self.device.type == "cuda":
            # From pinned memory the copy doesn't wait for the forward pass before it.
            batch = batch.pin_memory()
        batch = batch.to(self.device, non_blocking=True)
        return self.network(normalize(batch, self.preprocessing, torch.float32))  # type: ignore[no-any-return]


def image_extractor(backbone: Backbone, device: torch.device, precision: str = "auto") -> ImageExtractor:
    """An extractor of images for `backbone`; how it runs is measured, unless it was before (see `plan`)."""
    variants = Variants(backbone, device)
    plan = on_one_core(lambda: plan_for(variants, precision))
    pixels = (PIXELS_VERSION, PIL.__version__, backbone.preprocessing)
    # The size of the batch too: some layers add up in another order for another size.
    how = (INFERENCE_VERSION, device.type, plan.exact, plan.dtype, plan.fused, plan.batch)
    fingerprint = hashlib.sha256(repr((pixels, backbone.identity, how)).encode()).hexdigest()
    return ImageExtractor(variants, plan, fingerprint)


def build_extractor(
    backbone: Backbone, device: torch.device, precision: str = "auto", text: TextOptions = TextOptions()
) -> Extractor:
    """An extractor for `backbone`, whatever goes into it; `text` is for one that takes texts."""
    kind = "fitted" if must_be_fitted(backbone) else backbone.facts.modality
    if kind == "text":
        return text_extractor(backbone, device, precision, text)
    return _EXTRACTORS[kind](backbone, device, precision)


_EXTRACTORS: dict[str, Callable[[Backbone, torch.device, str], Extractor]] = {
    "image": image_extractor,
    "fitted": fitted_extractor,
}


def embedded_batches(extractor: ImageExtractor, loads: Sequence[Load]) -> Iterator[list[Tensor | DataError]]:
    """For each batch of `loads`, the embedding (D,) of each image or the error of its decoding.

    Every batch is filled up to the same size: to the last bit, an embedding does not depend on what else was
    asked for.
    """
    if not loads:
        return iter(())
    extractor.prepare()
    size = extractor.batch_size
    if extractor.device.type == "cpu":
        batches = (loads[start : start + size] for start in range(0, len(loads), size))
        return map_on_cores(lambda batch: embed_batch(extractor, batch, size), batches)
    return _embed_ahead(extractor, load_batches(loads, size), size)


def embed_batch(extractor: ImageExtractor, loads: Sequence[Load], size: int) -> list[Tensor | DataError]:
    """The same for one batch, by a forward pass over `size` images."""
    loaded = [load_one(load) for load in loads]
    return _collect(loaded, _launch(extractor, loaded, size))


def _embed_ahead(
    extractor: ImageExtractor, batches: Iterator[list[Loaded]], size: int
) -> Iterator[list[Tensor | DataError]]:
    """Fetch a batch's embeddings when the next batch has been given to the device, so that it never waits."""
    before: tuple[list[Loaded], Tensor | None] | None = None
    for loaded in batches:
        launched = _launch(extractor, loaded, size)
        if before:
            yield _collect(*before)
        before = loaded, launched
    if before:
        yield _collect(*before)


def _launch(extractor: ImageExtractor, outcomes: Sequence[Loaded], size: int) -> Tensor | None:
    good = [outcome for outcome in outcomes if not isinstance(outcome, DataError)]
    return extractor.embed(good + [good[-1]] * (size - len(good))) if good else None


def _collect(outcomes: Sequence[Loaded], embeddings: Tensor | None) -> list[Tensor | DataError]:
    rows = iter(() if embeddings is None else embeddings.cpu())
    return [outcome if isinstance(outcome, DataError) else next(rows) for outcome in outcomes]
