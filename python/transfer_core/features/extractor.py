"""The frozen engine: one decode and one forward pass per image."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import PIL

from transfer_core.backbones import Preprocessing
from transfer_core.backbones.frozen import AnyBackbone
from transfer_core.backbones.joint.joint_backbone import JointBackbone
from transfer_core.features.engines.choice import CHOICE_VERSION, Choice, choose
from transfer_core.features.engines.engine import Array
from transfer_core.features.engines.reference import Reference
from transfer_core.features.fitted import fitted_extractor, must_be_fitted
from transfer_core.features.joint import JointExtractor
from transfer_core.features.loading import Load, load_batches, load_one
from transfer_core.features.network import NetworkExtractor
from transfer_core.features.parallel import map_on_cores
from transfer_core.features.pixels import PIXELS_VERSION, Pixels, load_augmented_pixels, load_pixels
from transfer_core.features.probe import probe_photos
from transfer_core.features.style import ViewChange
from transfer_core.features.text import text_extractor
from transfer_core.recipe.schema import TextOptions
from transfer_core.runtime.devices import Device
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
    def device(self) -> Device:
        """Where the network runs."""

    @property
    def batch_size(self) -> int:
        """Inputs per forward pass, as many as are fastest."""

    def prepare(self) -> None:
        """Make ready what the first input would wait for; not by several threads at the same time."""

    def load(self, input: Any, name: str | None = None) -> Any:
        """What the backbone needs of an input: pixels, tokens. Errors call it `name`; raises `DataError`."""

    def load_view(self, input: Any, augmentations: Sequence[ViewChange], rng: np.random.Generator) -> Any:
        """The same for a random view of an input."""

    def embed_all(
        self, loads: Sequence[Load], few: bool = False
    ) -> Iterator[list[tuple[int, Array | DataError]]]:
        """For each load its number with the embedding (D,) float32, or with the error that it raised; some
        loads at a time, in any order.

        To the last bit, an embedding does not depend on what else was asked for; unless a `few` are, as fast
        as possible.
        """


@dataclass(frozen=True)
class ImageExtractor(NetworkExtractor):
    """Photos through a backbone, `batch_size` of them per forward pass."""

    @property
    def preprocessing(self) -> Preprocessing:
        """What photos must go through."""
        return self.backbone.preprocessing

    @property
    def batch_size(self) -> int:
        """Images per forward pass."""
        return max(FEW, self.choice.batch)

    def load(self, input: str | bytes, name: str | None = None) -> Pixels:
        """See `Extractor`; a path needs no name."""
        return load_pixels(input, self.preprocessing, None if isinstance(input, str) else name)

    def load_view(
        self, input: str | bytes, augmentations: Sequence[ViewChange], rng: np.random.Generator
    ) -> Pixels:
        """See `Extractor`."""
        return load_augmented_pixels(input, self.preprocessing, augmentations, rng)

    def embed_all(
        self, loads: Sequence[Load], few: bool = False
    ) -> Iterator[list[tuple[int, Array | DataError]]]:
        """See `Extractor`; in order."""
        first = 0
        alone = few and len(loads) <= FEW
        for batch in [self._embedded(loads, 0, True)] if alone else embedded_batches(self, loads):
            yield list(enumerate(batch, first))
            first += len(batch)

    def _embedded(self, loads: Sequence[Load], size: int, few: bool = False) -> list[Array | DataError]:
        """Embed images in one batch, filled up to `size` with copies of the last one."""
        loaded = [load_one(load) for load in loads]
        good = [pixels for pixels in loaded if not isinstance(pixels, DataError)]
        if not good:
            return [error for error in loaded if isinstance(error, DataError)]
        rows = iter(self.run(np.stack(good + [good[-1]] * (size - len(good))), few))
        return [pixels if isinstance(pixels, DataError) else next(rows) for pixels in loaded]


# Up to so many images of a `few` are one batch on all cores.
FEW = 8


def image_extractor(
    backbone: AnyBackbone, device: Device, precision: str = "auto", choice: Choice | None = None
) -> ImageExtractor:
    """An extractor of images for `backbone`; without `choice`, the choice is measured once per machine."""
    reference = Reference(backbone, partial(_probe, backbone.preprocessing.crop_size), device)
    choice = choice or choose(backbone, reference, device, precision)
    pixels = (PIXELS_VERSION, PIL.__version__, backbone.preprocessing)
    # The size of the batch too: some layers add up in another order for another size.
    how = (CHOICE_VERSION, device.type, choice)
    fingerprint = hashlib.sha256(repr((pixels, backbone.identity, how)).encode()).hexdigest()
    return ImageExtractor(backbone, device, choice, fingerprint, reference)


def _probe(size: int) -> Array:
    return np.stack(probe_photos(size))


def build_extractor(
    backbone: AnyBackbone,
    device: Device,
    precision: str = "auto",
    text: TextOptions = TextOptions(),
    choice: Choice | None = None,
) -> Extractor:
    """An extractor for `backbone`, whatever goes into it.

    Parameters
    ----------
    text
        Tokenization, for a backbone that takes texts.
    choice
        Engine, precision and batch size that another machine chose. Default: the fastest, measured.
    """
    if isinstance(backbone, JointBackbone):
        return JointExtractor(
            tuple(build_extractor(one, device, precision, text) for one in backbone.members)
        )
    if must_be_fitted(backbone):
        return fitted_extractor(backbone)
    if backbone.facts.modality == "text":
        return text_extractor(backbone, device, precision, text, choice)
    return image_extractor(backbone, device, precision, choice)


def embedded_batches(extractor: ImageExtractor, loads: Sequence[Load]) -> Iterator[list[Array | DataError]]:
    """For each batch of `loads`, the embedding (D,) of each image or the error of its decoding.

    Every batch is filled up to the same size: to the last bit, an embedding does not depend on what else was
    asked for.
    """
    if not loads:
        return iter(())
    extractor.engine.prepare(few=False)
    size = extractor.choice.batch
    batches = (loads[start : start + size] for start in range(0, len(loads), size))
    if extractor.device.type == "cpu":
        return map_on_cores(lambda batch: extractor._embedded(batch, size), batches)
    # The device works on one batch at a time, while the next ones are decoded.
    decoded = load_batches(loads, size)
    return (extractor._embedded([partial(_given, one) for one in batch], size) for batch in decoded)


def _given(loaded: Pixels | DataError) -> Pixels:
    if isinstance(loaded, DataError):
        raise loaded
    return loaded
