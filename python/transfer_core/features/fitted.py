"""Backbones that are fitted on the inputs of the training examples (scikit-learn's transformers)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from transfer_core.backbones.frozen import AnyBackbone
from transfer_core.backbones.registry import is_fitted
from transfer_core.data import Dataset
from transfer_core.features.engines.engine import Array
from transfer_core.features.loading import Load, load_batches, load_one
from transfer_core.features.pixels import load_augmented_pixels, load_pixels
from transfer_core.features.style import ViewChange
from transfer_core.runtime.devices import Device
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.progress import Progress

if TYPE_CHECKING:
    from transfer_core.backbones.scikit_learn.transformer_chain import Chain

_AT_ONCE = 256


@dataclass(frozen=True)
class FittedExtractor:
    """See `Extractor`. Its embeddings are not stored: another training would give others."""

    backbone: AnyBackbone
    fingerprint: str
    device: Device
    batch_size: int

    @property
    def width(self) -> int:
        """D, the numbers in an embedding."""
        return self.backbone.facts.embedding_width

    def prepare(self) -> None:
        """See `Extractor`; all is ready."""

    def load(self, input: Any, name: str | None = None) -> Any:
        """See `Extractor`."""
        if self.backbone.facts.modality == "image":
            return load_pixels(input, self.backbone.preprocessing, None if isinstance(input, str) else name)
        return cast("Chain", self.backbone.module().blocks[0]).reader.read(input, name)

    def load_view(self, input: Any, augmentations: Sequence[ViewChange], rng: np.random.Generator) -> Any:
        """See `Extractor`."""
        return load_augmented_pixels(input, self.backbone.preprocessing, augmentations, rng)

    def embed_all(
        self, loads: Sequence[Load], few: bool = False
    ) -> Iterator[list[tuple[int, Array | DataError]]]:
        """See `Extractor`; in order. Batches are filled up to the same size, but not one of a `few`."""
        alone = few and len(loads) <= self.batch_size
        first = 0
        for loaded in [list(map(load_one, loads))] if alone else load_batches(loads, self.batch_size):
            good = [one for one in loaded if not isinstance(one, DataError)]
            fill = 0 if alone or not good else self.batch_size - len(good)
            rows = iter(self._embedded(good + good[-1:] * fill) if good else ())
            yield [
                (number, one if isinstance(one, DataError) else next(rows))
                for number, one in enumerate(loaded, first)
            ]
            first += len(loaded)

    def _embedded(self, inputs: list[Any]) -> Array:
        import torch

        with torch.no_grad():
            found: Array = self.backbone.module()(inputs).numpy()
        return found


def fitted_extractor(backbone: AnyBackbone) -> FittedExtractor:
    """scikit-learn calculates on the processor, in a precision of its own."""
    return FittedExtractor(backbone, "", Device("cpu"), _AT_ONCE)


def must_be_fitted(backbone: AnyBackbone) -> bool:
    """Whether the backbone is fitted on the inputs of the training examples before it is used."""
    return is_fitted(backbone.facts)


def fit_backbone(
    backbone: AnyBackbone,
    train: Dataset,
    columns: Sequence[str],
    on_bad_input: str,
    seed: int,
    progress: Progress,
) -> AnyBackbone:
    """Fit a backbone on the inputs of `train`, and on no others; returns pretrained ones unchanged.

    Raises
    ------
    DataError
        For the first input that can't be read, unless `on_bad_input` is `skip`; if a column holds what the
        backbone doesn't take.
    RecipeError
        At `backbone`, if it can't be fitted.
    """
    if not must_be_fitted(backbone):
        return backbone
    from transfer_core.backbones.scikit_learn.scikit_learn_loading import fit

    inputs = list(train.inputs)
    if backbone.facts.modality == "image":
        inputs = _pixels(inputs, backbone, on_bad_input, progress)
    return fit(backbone.module(), inputs, columns, seed, progress.warning)


def _pixels(paths: list[str], backbone: AnyBackbone, on_bad_input: str, progress: Progress) -> list[Any]:
    loads = [partial(load_pixels, path, backbone.preprocessing) for path in paths]
    found = []
    for batch in load_batches(loads, _AT_ONCE):
        progress.check()
        for pixels in batch:
            if not isinstance(pixels, DataError):
                found.append(pixels)
            elif on_bad_input != "skip":
                raise pixels
    if not found:
        raise DataError(f"none of the {len(paths)} training images can be decoded")
    return found
